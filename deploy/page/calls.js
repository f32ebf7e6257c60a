// The REST calls of the gateway that serves this page, in the name of who signed in. The token stays in this module, and is gone with the page.

let token = "";

/** Use this token from now on; what it says about its owner. */
export function signIn(given) {
  token = given.trim();
  return claims(token);
}

/** A call without a body. `parameters` are those of the query; a list is repeated, what is undefined left out. */
export function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const it of [value].flat()) if (it !== undefined && it !== "") query.append(name, it);
  }
  return call(`${path}?${query}`, { method: "GET" });
}

/** A call with a body of JSON. */
export function post(path, body) {
  return call(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
}

/** All items of a list, page by page, up to `most` pages. */
export async function everything(path, items, parameters = {}, most = 20) {
  const found = [];
  let pageToken;
  for (let page = 0; page < most; page++) {
    const answer = await get(path, { ...parameters, pageToken });
    found.push(...(answer[items] ?? []));
    pageToken = answer.nextPageToken;
    if (!pageToken) break;
  }
  return found;
}

/** Why the gateway or a service refused; `reason` is meant for programs. */
export class Refused extends Error {
  constructor(httpStatus, status) {
    super(status.message || `HTTP ${httpStatus}`);
    this.httpStatus = httpStatus;
    this.reason = (status.details ?? []).map((it) => it.reason).find(Boolean) ?? "";
  }
}

async function call(path, options) {
  const headers = { ...options.headers, authorization: `Bearer ${token}` };
  const answer = await fetch(path, { ...options, headers });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, content);
  return content;
}

/** What a JWT says, unchecked: only to show it. */
function claims(jwt) {
  try {
    const text = atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(text);
  } catch {
    throw new Error("This is not a token.");
  }
}
