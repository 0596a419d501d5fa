/** Who asks: a session is a cookie that no script can read, so that the server is asked. */

import { get, post, remove } from "./server.js";

const PATH = "/session";

/** @returns {Promise<Api.Session>} */
export const whoAsks = () => get(PATH);

/** @param {string} token @returns {Promise<Api.Session>} */
export const logIn = (token) => post(PATH, { token });

/** @returns {Promise<Api.Session>} */
export const logOut = () => remove(PATH);

/** Goes to the issuer, and comes back to this place. */
export function logInElsewhere() {
  location.assign(`/api/v1/session/login?place=${encodeURIComponent(location.hash)}`);
}
