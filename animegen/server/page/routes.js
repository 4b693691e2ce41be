// The API's addresses of what the page shows and saves; the curl lines are made of the same.

import { parts, shared, short } from "./points.js";
import { writeSeeds } from "./seeds.js";

/** Where a face is asked for: relative, without a leading slash. */
export function imageRoute(model, point, form = "png", more = []) {
  return route(`v1/images/${point.seed}.${form}`, [...more, ...parts(point), ["model", model.name], ["v", model.sha256?.slice(0, 12)]]);
}

/** Where what is saved is asked for. A job is described in save.js. */
export function jobRoute(model, job) {
  const more = [["download", "true"], ...(job.scale === 1 ? [] : [["scale", job.scale]])];
  if (job.kind === "image") return imageRoute(model, job.point, job.form, more);
  const end = [...more, ["model", model.name]];
  if (job.kind === "strip") {
    const direction = job.direction === null ? [] : [["direction", job.direction]];
    const own = [["seed", job.point.seed], ...direction, ["range", job.range.join(":")], ["steps", job.steps]];
    return route(`v1/edit.${job.form}`, [...own, ...parts(job.point), ...end]);
  }
  if (job.kind === "grid") {
    const captions = job.captions ? [["captions", "true"]] : [];
    return route(`v1/grid.${job.form}`, [["seeds", writeSeeds(job.seeds)], ["columns", job.columns], ...captions, ...shared(job), ...end]);
  }
  if (job.kind === "morph") {
    const moves = ["gif", "webp", "mp4"].includes(job.form);
    const motion = moves ? [["fps", short(job.fps)]] : [];
    return route(`v1/interpolate.${job.form}`, [["a", job.a], ["b", job.b], ["steps", job.steps], ["mode", job.mode], ...motion, ...shared(job), ...end]);
  }
  return route(`v1/walk.${job.form}`, [["seeds", writeSeeds(job.seeds)], ["frames", job.frames], ["fps", short(job.fps)], ...shared(job), ...end]);
}

function route(path, pairs) {
  const query = pairs.filter(([, value]) => value !== undefined && value !== null);
  const text = query.map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(3A|2C)/g, (code) => (code === "%3A" ? ":" : ","))}`);
  return text.length ? `${path}?${text.join("&")}` : path;
}
