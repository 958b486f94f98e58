// Asks the control socket as every client does: signs in by operation 1, keeps the tokens for this tab, renews them once.

const KEPT = "relayd-session";
const CLIENT = "console";
const REDIRECT = "relayd://console";

let session = read();
const leaving = new Set();

function read() {
  try { return JSON.parse(sessionStorage.getItem(KEPT)); } catch { return null; }
}

function keep(found) {
  session = found;
  if (found) sessionStorage.setItem(KEPT, JSON.stringify(found));
  else sessionStorage.removeItem(KEPT);
}

/** What the API said no with. status: of HTTP; error: the word of form A; needsCode: the one-time code is missing. */
export class Refused extends Error {
  constructor(message, { status = 200, error = "" } = {}) {
    super(message);
    this.status = status;
    this.error = error;
    this.needsCode = status === 402;
  }
}

export const isSignedIn = () => session !== null;
export const userName = () => session?.user ?? "";

/** Whether who signed in has a permission. */
export const may = (permission) => session?.permissions.includes(permission) ?? false;

/** Be told when nobody is signed in any more. */
export const onLeave = (told) => leaving.add(told);

/** Sign in; code: the one-time code, "" for none. Raises Refused. */
export async function signIn(user, secret, code) {
  const password = code ? `${secret}$${code}` : secret;
  const octets = new TextEncoder().encode(`${user}:${password}`);
  const basic = btoa(Array.from(octets, (each) => String.fromCharCode(each)).join(""));
  const answer = await request("POST", "/oauth", { type: "code", client_id: CLIENT, redirect_uri: REDIRECT }, `Basic ${basic}`);
  const tokens = await exchange({ grant_type: "authorization_code", client_id: CLIENT, code: answer.code, redirect_uri: REDIRECT });
  keep({ user, permissions: answer.permissions, version: answer.version, ...tokens });
}

/** Sign out: the tokens are forgotten. */
export function signOut() {
  keep(null);
  for (const told of leaving) told();
}

async function exchange(form) {
  const response = await fetch("/auth/token", { method: "POST", body: new URLSearchParams(form) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(answer.error_description ?? answer.error ?? "Signing in failed", { status: response.status });
  return { access: answer.access_token, refresh: answer.refresh_token ?? session?.refresh };
}

async function request(method, path, body, authorization) {
  const headers = { Authorization: authorization, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  let response;
  try {
    response = await fetch(`/api${path}`, { method, headers, body: sent });
  } catch {
    throw new Refused("The relay does not answer", { status: 0 });
  }
  const answer = await response.json().catch(() => null);
  if (response.status !== 200) {
    throw new Refused(answer?.detail ?? answer?.title ?? `HTTP ${response.status}`, { status: response.status });
  }
  if (answer && "data" in answer) return answer.data;
  if (answer && "error" in answer) throw new Refused(words(answer), { error: answer.error });
  return answer;
}

function words(answer) {
  const known = {
    notFound: `${answer.item || "It"} does not exist`,
    fieldAlreadyExists: `${answer.field} "${answer.value}" exists already`,
    fieldMissing: `${answer.field} is missing`,
    assertFailed: "Somebody else changed it meanwhile",
  };
  return known[answer.error] ?? [answer.details, answer.reason].filter(Boolean).join(": ");
}

/** The data of an operation. path: below /api. Raises Refused; who is signed out is taken to the sign-in page. */
export async function ask(method, path, body) {
  if (!session) throw new Refused("Nobody is signed in", { status: 401 });
  try {
    return await request(method, path, body, `Bearer ${session.access}`);
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  try {
    keep({ ...session, ...(await exchange({ grant_type: "refresh_token", refresh_token: session.refresh })) });
  } catch (error) {
    signOut();
    throw error;
  }
  return request(method, path, body, `Bearer ${session.access}`);
}

export const get = (path, query) => ask("GET", path + search(query));

/** A query string of what is not empty. */
export function search(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  return given.length ? "?" + new URLSearchParams(given.map(([key, value]) => [key, value === true ? "1" : String(value)])) : "";
}

/** The samples of a metric, as Prometheus is told them: [{labels, value}]. Raises Refused. */
export async function samples(metric) {
  const response = await fetch("/metrics", { headers: { Authorization: `Bearer ${session?.access}` } });
  if (!response.ok) throw new Refused(`HTTP ${response.status}`, { status: response.status });
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `));
  return lines.map((line) => ({
    labels: Object.fromEntries(Array.from(line.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g), ([, name, value]) => [name, value])),
    value: Number(line.slice(line.lastIndexOf(" ") + 1)),
  }));
}

/** The octets of something as text, at most `most` of them. */
export async function text(path, most) {
  const response = await fetch(`/api${path}`, { headers: { Authorization: `Bearer ${session.access}`, Range: `bytes=0-${most - 1}` } });
  if (!response.ok) throw new Refused(`HTTP ${response.status}`, { status: response.status });
  return response.text();
}
