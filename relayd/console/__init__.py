"""The operator's web page, at `/` of the control socket.

Plain JavaScript modules and one style sheet, shipped as they are: no build step, nothing fetched from elsewhere, and a
content security policy that forbids it.  The files need no credentials and hold nothing; the page signs in as every
client does (operation 1) and has no door of its own: what it shows and does goes through `/api`, by the permissions of
who signed in.

`files` serves them.  In `static/`: `app.js` starts and draws the frame, `router.js` finds the page of an address
(`#/queue?to=example.org`), `api.js` asks the API and keeps the tokens (in the tab's session storage), `dom.js` makes
elements - text is set as text, never as markup, for peers write much of it - `table.js`, `chart.js`, `dialog.js` and
`stream.js` are the parts that pages share, `page-*.js` the pages.
"""
