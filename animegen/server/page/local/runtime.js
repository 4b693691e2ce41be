// ONNX Runtime Web in a worker: which of its builds runs here, and how many threads it gets.

import { fetched } from "./fetching.js";

const MOST_THREADS = 4; // beyond that small models gain nothing

/**
 * The runtime, and what is said of it: {ort, where, threads}.
 *
 * @param {object} files config.json's `runtime`: {version, wasm: {module, binary}, webgpu?: {module, binary}}
 * @param {"webgpu" | "wasm"} kind
 */
export async function openRuntime(files, base, kind, progress) {
  const { module, binary } = files[kind];
  const what = "ONNX Runtime";
  const data = await fetched(binary, base, what, (loaded) => progress({ what, loaded, total: binary.bytes }));
  const ort = await import(new URL(module.path, base));
  const threads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.wasmBinary = data;
  ort.env.wasm.numThreads = threads; // fixed at the first session
  ort.env.logLevel = "error";
  return { ort, where: kind, threads };
}

/** Whether a graphics card runs models here: an adapter that is no software, and WebAssembly that can wait for it. */
export async function hasGpu(forced) {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && (forced || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}
