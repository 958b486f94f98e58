// Live streams (Server-Sent Events), opened with a token of their own, closed with the page that opened them.

import { get, search } from "./api.js";

/** Open a stream. kind: what the token is for; on: {event name: told of its data}. Returns what closes it.
 *  Comes back by itself, ever more slowly, with a new token, unless `once`. state: told "live", "waiting" or "ended". */
export function open(kind, path, query, on, { state = () => {}, once = false } = {}) {
  let source = null, closed = false, tries = 0, timer = 0;

  async function connect() {
    try {
      const token = await get(kind);
      if (closed) return;
      source = new EventSource(`/api${path}${search({ ...query, token })}`);
    } catch (error) {
      state("waiting", error);
      again();
      return;
    }
    source.onopen = () => { tries = 0; state("live"); };
    source.onerror = () => {
      source.close();
      if (once) { state("ended"); closed = true; } else { state("waiting"); again(); }
    };
    for (const [name, told] of Object.entries(on)) source.addEventListener(name, (event) => told(JSON.parse(event.data)));
  }

  function again() {
    if (closed || once) return;
    timer = window.setTimeout(connect, Math.min(30000, 500 * 2 ** tries++));
  }

  connect();
  return () => { closed = true; window.clearTimeout(timer); source?.close(); };
}

export const METRICS = "/telemetry/live/metrics-token";
export const TRACES = "/telemetry/live/tracing-token";
export const TROUBLESHOOT = "/troubleshoot/token";
