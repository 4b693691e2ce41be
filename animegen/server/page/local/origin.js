// What a saved file says of itself: the command that makes it again, as animegen/cli/origin.py writes it.

/** A job's record, which `animegen info FILE` prints with its command line; null where no command makes the same. */
export function origin(version, { name, sha256 }, job) {
  const made = asCommand(job);
  if (made === null) return null;
  const [command, options] = made;
  return { software: `animegen ${version}`, model: name, model_sha256: sha256, command, options };
}

function asCommand({ kind, scale = 1, fps, truncation = 1, labels, ...job }) {
  const label = texts(labels);
  const enlarged = scale > 1 ? { scale } : {};
  switch (kind) {
    case "image": {
      const { seed, toward = [], mode = "slerp", moves = {} } = job.point;
      const options = {
        seed,
        toward: toward.map((pair) => pair.join(":")),
        mode,
        move: Object.entries(moves).map((pair) => pair.join(":")),
        truncation: job.point.truncation ?? 1,
        label: texts(job.point.labels),
      };
      return ["image", { ...options, ...enlarged }];
    }
    case "grid": {
      const rows = Math.ceil(job.seeds.length / (job.columns ?? 1));
      const size = job.columns ? { grid: `${job.columns}x${rows}` } : {};
      return ["sample", { seeds: job.seeds.join(","), ...size, labels: job.captions === true, truncation, label, ...enlarged }];
    }
    case "strip": {
      const { seed, toward = [], moves = {} } = job.point;
      if (toward.length || Object.values(moves).some(Boolean)) return null;
      const which = job.direction === null ? { all: true } : { direction: job.direction };
      return ["edit", { seed, ...which, range: job.range.join(":"), steps: job.steps, truncation, label, ...enlarged }];
    }
    case "morph":
      if (typeof job.a === "object" || typeof job.b === "object") return null;
      return [
        "interpolate",
        { "seed-a": [job.a], "seed-b": [job.b], steps: job.steps, mode: job.mode, fps, truncation, label, ...enlarged },
      ];
    case "walk":
      return ["walk", { seeds: job.seeds.join(","), frames: job.frames, fps, truncation, label, ...enlarged }];
    default:
      return null;
  }
}

/** Labels as the command takes them: hair=blue, or a mix eyes=green:0.7+blue:0.3. */
function texts(labels) {
  return Object.entries(labels ?? {}).map(([group, label]) => {
    const mix = typeof label === "object" ? Object.entries(label).map((pair) => pair.join(":")).join("+") : label;
    return `${group}=${mix}`;
  });
}
