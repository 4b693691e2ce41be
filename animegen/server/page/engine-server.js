// Faces made by the server that this page came from.

import { EngineError } from "./engine-error.js";
import { imageRoute, jobRoute } from "./routes.js";

/** @param config what config.json says */
export async function open(config) {
  const address = new URL(".", document.baseURI).href;
  return {
    where: "server",
    detail: (config.models[0]?.device ?? "").toUpperCase(),
    models: config.models,
    formats: config.formats,
    limits: config.limits ?? {},
    parallel: 6, // as many as a browser opens to one address
    address,
    async image(model, point, { signal } = {}) {
      const began = performance.now();
      const answer = await ask(imageRoute(model, point), signal);
      const blob = await answer.blob();
      const told = /\bmodel;dur=([\d.]+)/.exec(answer.headers.get("server-timing") ?? "");
      return { url: URL.createObjectURL(blob), ms: told ? Number(told[1]) : performance.now() - began };
    },
    async save(model, job, { signal } = {}) {
      return (await ask(jobRoute(model, job), signal)).blob();
    },
    release: (url) => URL.revokeObjectURL(url),
  };

  async function ask(route, signal) {
    let answer;
    try {
      answer = await fetch(new URL(route, address), { signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new EngineError("The server doesn’t answer", { cause: error });
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    const wait = Number(answer.headers.get("retry-after"));
    const words = answer.status === 401 ? "This server asks for its token: load the page again" : detail(said);
    throw new EngineError(words || `The server answers ${answer.status}`, { status: answer.status, retryAfter: wait || undefined });
  }
}

const detail = (said) => (typeof said.detail === "string" ? said.detail : "");
