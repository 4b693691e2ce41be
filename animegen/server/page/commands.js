// The same picture by other means: the exact command, curl line and lines of Python.

import { isMix, mixOf } from "./mixes.js";
import { isPlain, short } from "./points.js";
import { jobRoute } from "./routes.js";
import { writeSeeds } from "./seeds.js";
import { hasToken } from "./token.js";

/** [{name, code}] of a job, as save.js describes it. */
export function commands(engine, model, job, file) {
  const found = [];
  const code = commandLine(model, job, file);
  if (code) found.push({ name: "Command", code });
  if (engine.address) found.push({ name: "curl", code: curl(new URL(jobRoute(model, job), engine.address), file) });
  return [...found, { name: "Python", code: python(model, job, file) }];
}

/** With a token it names the shell's variable: the token itself isn't for a screen or a chat. */
function curl(url, file) {
  const header = hasToken() ? `-H "Authorization: Bearer $TOKEN" ` : "";
  return `curl -fo ${quoted(file)} ${header}'${url}'`;
}

// Its own name, whatever it is served as; a model that isn't shipped is a file of whoever serves it.
const modelOf = ({ name, card, shipped }) => `${card?.name ?? name}${shipped === false ? ".onnx" : ""}`;

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replace(/'/g, `'\\''`)}'`);

const moves = (form) => ["gif", "webp", "mp4"].includes(form);

function commandLine(model, job, file) {
  const all = ["--model", modelOf(model)];
  if (job.truncation !== 1) all.push("--truncation", short(job.truncation));
  for (const [group, label] of Object.entries(job.labels)) all.push("--label", `${group}=${label}`);
  const line = (...words) => ["animegen", ...words, ...all, "--out", file].map(quoted).join(" ");
  const scale = job.scale === 1 ? [] : ["--scale", job.scale];
  if (job.kind === "image") {
    const { seed, toward, mode, moves: lengths } = job.point;
    const words = toward.flatMap(([other, share]) => ["--toward", `${other}:${short(share)}`]);
    if (toward.length && mode === "lerp") words.push("--mode", "lerp");
    for (const [direction, length] of Object.entries(lengths)) if (length) words.push("--move", `${direction}:${short(length)}`);
    return line("image", "--seed", seed, ...words, ...scale);
  }
  if (job.kind === "grid") {
    const rows = Math.ceil(job.seeds.length / job.columns);
    return line("sample", "--seeds", writeSeeds(job.seeds), "--grid", `${job.columns}x${rows}`, ...(job.captions ? ["--labels"] : []), ...scale);
  }
  if (job.kind === "strip") {
    if (!isPlain(job.point)) return null; // edit takes a seed alone
    const which = job.direction === null ? ["--all"] : ["--direction", job.direction];
    return line("edit", "--seed", job.point.seed, ...which, "--range", job.range.join(":"), "--steps", job.steps, ...scale);
  }
  if (job.kind === "morph") {
    const words = ["interpolate", "--seed-a", job.a, "--seed-b", job.b, "--steps", job.steps, "--mode", job.mode];
    return line(...words, ...(moves(job.form) ? ["--fps", short(job.fps)] : []), ...scale);
  }
  return line("walk", "--seeds", writeSeeds(job.seeds), "--frames", job.frames, "--fps", short(job.fps), ...scale);
}

const literal = (value) => JSON.stringify(value);

/** A label as the library takes it: a mix is a dict. */
function wanted(group, label) {
  if (!isMix(group, label)) return literal(label);
  return `{${Object.entries(mixOf(group, label)).map(([name, share]) => `${literal(name)}: ${share}`).join(", ")}}`;
}

/** What Generator.image and Generator.point take of a point. */
function words({ seed, toward, mode, moves: lengths }) {
  const found = [seed];
  if (toward.length) found.push(`toward=[${toward.map(([other, share]) => `(${other}, ${short(share)})`).join(", ")}]`);
  if (toward.length && mode === "lerp") found.push(`mode="lerp"`);
  const moved = Object.entries(lengths).filter(([, length]) => length);
  if (moved.length) found.push(`moves={${moved.map(([direction, length]) => `${direction}: ${short(length)}`).join(", ")}}`);
  return found;
}

function python(model, job, file) {
  const labels = Object.entries(job.labels).map(([name, label]) => `${literal(name)}: ${wanted(model.labels.find((group) => group.name === name), label)}`);
  const options = [];
  if (labels.length) options.push(`labels={${labels.join(", ")}}`);
  if (job.truncation !== 1) options.push(`truncation=${short(job.truncation)}`);
  const call = (name, ...words) => `generator.${name}(${[...words, ...options].join(", ")})`;
  const lines = (imports, inside, after) => [...imports, "", `with Generator.load(${literal(modelOf(model))}) as generator:`, ...inside.map((text) => `    ${text}`), ...after].join("\n");
  const larger = (what) => (job.scale === 1 ? what : `${what}.repeat(${job.scale}, axis=0).repeat(${job.scale}, axis=1)`);
  const name = literal(file);
  const sheet = (columns, more = "") => [`sheet = grid(images, ${columns}${more})`, `save_image(${larger("sheet")}, ${name})`];
  const motion = `fps=${short(job.fps ?? 1)}${job.scale === 1 ? "" : `, scale=${job.scale}`}`;

  if (job.kind === "image") {
    return lines(["from animegen import Generator, save_image"], [`image = ${call("image", ...words(job.point))}`], [`save_image(${larger("image")}, ${name})`]);
  }
  if (job.kind === "grid") {
    const seeds = `seeds = Seeds.parse(${literal(writeSeeds(job.seeds))})`;
    return lines(["from animegen import Generator, Seeds, grid, save_image", "", seeds], [`images = ${call("sample", "seeds=seeds")}`], sheet(job.columns, job.captions ? ", labels=seeds" : ""));
  }
  if (job.kind === "strip") {
    const [least, most] = job.range;
    const amounts = Array.from({ length: job.steps }, (_, place) => short(least + ((most - least) * place) / (job.steps - 1)));
    if (isPlain(job.point)) {
      const which = job.direction === null ? "None" : job.direction;
      return lines(["from animegen import Generator, grid, save_image"], [`images = ${call("edit", job.point.seed, which, `[${amounts.join(", ")}]`)}`], sheet(job.steps));
    }
    const chosen = job.direction === null ? "" : `[${job.direction}:${job.direction + 1}]`;
    return lines(
      ["import numpy as np", "", "from animegen import Generator, grid, save_image"],
      [
        `z, y = ${call("point", ...words(job.point))}`,
        `vectors = np.array(generator.card.directions${chosen}, np.float32)`,
        `amounts = np.array([${amounts.join(", ")}], np.float32)`,
        "moved = np.concatenate([z + np.outer(amounts, vector) for vector in vectors])",
        "images = generator(moved, np.repeat(y[None], len(moved), axis=0))",
      ],
      sheet(job.steps),
    );
  }
  if (job.kind === "morph") {
    const images = `images = ${call("interpolate", job.a, job.b, `steps=${job.steps}`, `mode=${literal(job.mode)}`)}`;
    if (!moves(job.form)) return lines(["from animegen import Generator, grid, save_image"], [images], sheet(job.steps));
    return lines(["from animegen import Generator, save_animation", "from animegen.latents import there_and_back"], [images], [`save_animation(there_and_back(images), ${name}, ${motion})`]);
  }
  return lines(["from animegen import Generator, save_animation"], [`frames = ${call("walk", `[${job.seeds.join(", ")}]`, `frames=${job.frames}`)}`, `save_animation(frames, ${name}, ${motion})`], []);
}
