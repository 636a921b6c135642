// The arithmetic of docs/experiments.md in another language: plan layers and units in, arms out.
const { createHash } = require("node:crypto");
const slotOf = (...parts) =>
  Number(createHash("sha256").update(parts.join(":")).digest().readBigUInt64BE(0) % 10000n);
const within = (ranges, slot) => ranges.some(([first, last]) => first <= slot && slot <= last);
const opened = ({ buckets, ramp }, now) => {
  if (!ramp) return buckets;
  let left = Math.round(100 * Math.max(0, ...ramp.filter((s) => Date.parse(s.at) <= now * 1000).map((s) => s.percent)));
  return buckets.map(([first, last]) => {
    const taken = Math.min(left, last + 1 - first);
    left -= taken;
    return [first, first + taken - 1];
  });
};
const assign = ({ salt, slice_s, experiments }, id, now) => {
  const unit = slice_s ? `${id}@${Math.floor(now / slice_s)}` : id;
  const found = experiments.find((e) => within(opened(e, now), slotOf(salt, unit)));
  if (!found) return "";
  const slot = slotOf(salt, found.name, unit), all = found.arms.reduce((sum, arm) => sum + arm.share, 0);
  let below = 0;
  return `${found.name}/${found.arms.find((arm) => slot * all < 10000 * (below += arm.share)).name}`;
};
const { layers, units, now } = JSON.parse(require("node:fs").readFileSync(0));
console.log(JSON.stringify(layers.map((layer) => units.map((unit) => assign(layer, unit, now)))));
