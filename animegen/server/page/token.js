// The token of a server that asks for one: it stays in a cookie, as an <img> can send no header.

const COOKIE = "animegen-token"; // as animegen/server/security.py reads it

export const hasToken = () => document.cookie.split("; ").some((pair) => pair.startsWith(`${COOKIE}=`));

export function keepToken(token) {
  document.cookie = `${COOKIE}=${encodeURIComponent(token)}; path=${new URL(".", document.baseURI).pathname}; SameSite=Strict`;
}
