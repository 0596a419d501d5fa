/**
 * Image references as the service reads them, checked while they are typed. The same grammar as the
 * server's (github.com/distribution/reference); a test holds one to the other. The server decides.
 */

const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const REGISTRY = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);
const PART = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//;
/** @type {Record<string, number>} */
const DIGITS = { sha256: 64, sha384: 96, sha512: 128 };

/**
 * @typedef {{canonical: string}} Reference the full form
 * @typedef {{fault: string, values: Record<string, string>}} Fault a key of `reference.…` words
 */

/**
 * @param {string} text as a person writes it
 * @returns {Reference | Fault}
 */
export function readReference(text) {
  const fault = whatIsNoReference(text);
  if (fault) return fault;
  const [registry, rest] = splitRegistry(text);
  const [name, digest] = split(rest, "@");
  const [repository, tag] = split(name, ":");
  return (
    registryFault(registry) ??
    repositoryFault(repository) ??
    tagFault(tag) ??
    digestFault(digest) ?? { canonical: canonical(registry, repository, tag, digest) }
  );
}

/** The full form, in which two spellings of one image are equal; what is no reference is itself. @param {string} text */
export function fullName(text) {
  const read = readReference(text);
  return "canonical" in read ? read.canonical : text;
}

/** @param {string} fault @param {Record<string, string>} [values] @returns {Fault} */
const refuse = (fault, values = {}) => ({ fault, values });

/** @param {string} text */
function whatIsNoReference(text) {
  if (/\s/.test(text)) return refuse("space");
  const scheme = SCHEME.exec(text);
  if (scheme) return refuse("scheme", { scheme: scheme[0] });
  if (/^[a-f0-9]{64}$/.test(text)) return refuse("id");
  return digestFault(text) ? undefined : refuse("bare");
}

/**
 * Cuts at the first separator; the second part is undefined where there is none.
 * @param {string} text @param {string} separator @returns {[string, string | undefined]}
 */
function split(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** @param {string} text */
function splitRegistry(text) {
  const [first, after] = split(text, "/");
  const isNamed = after !== undefined && looksLikeRegistry(first);
  const registry = !isNamed || first === "index.docker.io" ? "docker.io" : first;
  const rest = isNamed ? after : text;
  const isOfficial = registry === "docker.io" && !rest.includes("/");
  return [registry, isOfficial ? `library/${rest}` : rest];
}

/** @param {string} first */
const looksLikeRegistry = (first) =>
  first === "localhost" || /[.:]/.test(first) || first !== first.toLowerCase();

/** @param {string} text */
const registryFault = (text) =>
  REGISTRY.test(text) ? undefined : refuse("registry", { text });

/** @param {string} text */
function repositoryFault(text) {
  if (text === "" || text === "library/") return refuse("missing");
  if (text !== text.toLowerCase()) return refuse("case");
  const wrong = text.split("/").find((part) => !PART.test(part));
  if (wrong !== undefined) return refuse("part", { text: wrong });
  return text.length > 255 ? refuse("long") : undefined;
}

/** @param {string} [text] */
const tagFault = (text) =>
  text === undefined || TAG.test(text) ? undefined : refuse(text ? "tag" : "empty", { text });

/** @param {string} [text] */
function digestFault(text) {
  if (text === undefined) return;
  const [algorithm, hex = ""] = split(text, ":");
  const isWhole = hex.length === DIGITS[algorithm] && /^[a-f0-9]+$/.test(hex);
  return isWhole ? undefined : refuse("digest");
}

/**
 * @param {string} registry
 * @param {string} repository
 * @param {string} [tag]
 * @param {string} [digest]
 */
function canonical(registry, repository, tag, digest) {
  const name = `${registry}/${repository}`;
  if (digest === undefined) return `${name}:${tag ?? "latest"}`;
  return tag === undefined ? `${name}@${digest}` : `${name}:${tag}@${digest}`;
}
