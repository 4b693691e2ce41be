// Labels as people write them: a class, unknown, or a mix of classes, as animegen/labels.py reads them.

export const UNKNOWN = "unknown"; // in the place of a class

const SHARE = /^(\d+\.?\d*|\.\d+)$/;

/** Classes and their shares, of a class, of {class: share, …}, or of a text such as green:0.7+blue:0.3. */
export function sharesOf({ classes }, label) {
  if (typeof label === "object") return Object.entries(label);
  if (classes.includes(label) || !/[+:]/.test(label)) return [[label, 1]];
  return String(label).split("+").map((part) => {
    const place = part.lastIndexOf(":");
    const share = part.slice(place + 1);
    return place < 0 ? [part, 1] : [part.slice(0, place), SHARE.test(share) ? Number(share) : NaN];
  });
}

export const isMix = ({ classes }, label) => !classes.includes(label) && /[+:]/.test(label);

/** Whether a group may be asked for a label. */
export function isLabel(group, label) {
  if (label === undefined) return false;
  if (label === UNKNOWN) return true;
  const shares = sharesOf(group, label);
  return shares.every(([name, share]) => group.classes.includes(name) && share >= 0) && shares.some(([, share]) => share > 0);
}

/** A mix as {class: share, …}. */
export function mixOf(group, label) {
  const mix = {};
  for (const [name, share] of sharesOf(group, label)) mix[name] = (mix[name] ?? 0) + share;
  return mix;
}

/** A label for people: 70 % green, 30 % blue. */
export function inWords(group, label) {
  if (!isMix(group, label)) return label;
  const mix = Object.entries(mixOf(group, label));
  const whole = mix.reduce((sum, [, share]) => sum + share, 0);
  return mix.map(([name, share]) => `${Math.round((100 * share) / whole)} % ${name}`).join(", ");
}
