// What is saved: a job of the page becomes pictures, and those a file in the form that was chosen.

import { EngineError } from "../engine-error.js";
import { gif } from "./gif.js";
import { encodes, mp4 } from "./mp4.js";
import { origin } from "./origin.js";
import { enlarge, grid } from "./pixels.js";
import { png } from "./png.js";
import { between, morph, place, walk } from "./point-law.js";
import { still, webp, writes } from "./webp.js";

const TYPES = { jpg: "image/jpeg", webp: "image/webp" };

/** What can be saved in this browser: {still, motion}. */
export async function formats() {
  const [hasJpeg, hasWebp, hasMp4] = await Promise.all([writes(TYPES.jpg), writes(TYPES.webp), encodes()]);
  const has = { jpg: hasJpeg, webp: hasWebp, mp4: hasMp4 };
  return {
    still: ["png", "webp", "jpg"].filter((form) => form === "png" || has[form]),
    motion: ["gif", "webp", "mp4"].filter((form) => form === "gif" || has[form]),
  };
}

/**
 * The file of a job.
 *
 * @param {object} site config.json: its version and limits
 * @param {object} model of config.json's models
 * @param {object} job as the page has it
 * @param {(places: object[]) => Promise<object[]>} draw makes the pictures
 */
export async function save({ version, limits }, model, job, draw) {
  const { form, scale = 1, fps = 12 } = job;
  const moves = (job.kind === "morph" && !["png", "jpg"].includes(form)) || job.kind === "walk";
  const { places, columns, captions } = laidOut(model, job, moves);
  const most = moves ? limits.frames : limits.images;
  const [, height, width] = model.image_shape;
  if (places.length > most) throw tooMuch(`${places.length} ${moves ? "frames" : "images"} at once`, `${most}`);
  const pixels = places.length * height * width * scale ** 2;
  const millions = (count) => `${Math.round(count / 1e6)} million`;
  if (pixels > limits.pixels) throw tooMuch(`${millions(pixels)} pixels`, millions(limits.pixels));
  const once = [...new Set(places)]; // an animation that comes back passes each twice
  const drawn = new Map((await draw(once)).map((picture, k) => [once[k], picture]));
  const pictures = places.map((one) => drawn.get(one));
  const metadata = origin(version, model, job);
  if (!moves) {
    const sheet = columns ? grid(pictures, columns, captions) : pictures[0];
    const large = enlarge(sheet, scale);
    return form === "png" ? png(large, metadata) : still(large, TYPES[form], metadata);
  }
  if (form === "gif") return gif(pictures, { fps, scale, metadata });
  const large = new Map(once.map((one) => [one, enlarge(drawn.get(one), scale)]));
  const frames = places.map((one) => large.get(one));
  return form === "webp" ? webp(frames, { fps, metadata }) : mp4(frames, { fps, metadata });
}

/** The places of a job's pictures, and for stills of several how many stand in a row. */
function laidOut(model, job, moves) {
  const { truncation = 1, labels = {} } = job;
  const of = (seed) => (typeof seed === "object" ? seed : { seed, truncation, labels });
  switch (job.kind) {
    case "image":
      return { places: [place(model, job.point)] };
    case "grid": {
      const captions = job.captions ? job.seeds : null;
      const columns = job.columns ?? Math.ceil(Math.sqrt(job.seeds.length));
      return { places: job.seeds.map((seed) => place(model, of(seed))), columns, captions };
    }
    case "strip":
      return { places: job.points.map((point) => place(model, point)), columns: job.steps };
    case "morph": {
      const way = moves ? morph : between;
      return { places: way(model, of(job.a), of(job.b), job.steps, job.mode), columns: job.steps };
    }
    case "walk":
      return { places: walk(model, job.seeds.map(of), job.frames) };
    default:
      throw new EngineError(`${job.kind} can't be saved here`, { status: 400 });
  }
}

function tooMuch(asked, most) {
  return new EngineError(`${asked} is more than a browser should hold: at most ${most}`, { status: 413 });
}
