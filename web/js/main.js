/** The page, put together. */

import { Shell } from "./app.js";

new Shell(document.body).start();
