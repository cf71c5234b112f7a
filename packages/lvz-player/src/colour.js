/** From Y, U and V to RGB: matrices and ranges as ITU-T H.273 numbers them. */

const WEIGHTS = { 1: [0.2126, 0.0722], 4: [0.3, 0.11], 5: [0.299, 0.114], 6: [0.299, 0.114], 7: [0.212, 0.087], 9: [0.2627, 0.0593], 10: [0.2627, 0.0593] };

/** Kr and Kb. A file that does not say is taken for what players take it: HD for BT.709, smaller ones for BT.601. */
export function weights({ matrix, width, height }) {
  return WEIGHTS[matrix] ?? WEIGHTS[width >= 1280 || height > 576 ? 1 : 6];
}

/**
 * {matrix: 9 numbers column by column, offset: 3, one}: rgb = matrix · (yuv − offset), all 0 … 1, where yuv are samples
 * divided by `one`.
 */
export function conversion(video) {
  const [kr, kb] = weights(video);
  const kg = 1 - kr - kb;
  const full = video.range === 2;
  const depth = video.depth ?? 8;
  // limited range is the same with more bits below; full range ends at the largest number
  const one = full ? 2 ** depth - 1 : 255 * 2 ** (depth - 8);
  const [luma, chroma] = full ? [1, 1] : [255 / 219, 255 / 224];
  const zero = full ? 0 : 16 / 255;
  const [rv, bu] = [2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma];
  const [gu, gv] = [(-bu * kb) / kg, (-rv * kr) / kg];
  return { matrix: [luma, luma, luma, 0, gu, bu, rv, gv, 0], offset: [zero, 2 ** (depth - 1) / one, 2 ** (depth - 1) / one], one };
}

/** Where chroma lies between luma samples, in luma samples to the right and down of the even one: MPEG-2's, unless said. */
export function siting({ chromaLocation }) {
  return [[0, 0.5], [0, 0.5], [0.5, 0.5], [0, 0], [0.5, 0], [0, 1], [0.5, 1]][chromaLocation];
}

/** The size at which a picture is shown: samples made square, turned. */
export function shownSize({ width, height, sar, rotation }) {
  const ratio = sar[0] > 0 && sar[1] > 0 ? Math.min(8, Math.max(1 / 8, sar[0] / sar[1])) : 1;
  const size = ratio >= 1 ? [Math.round(width * ratio), height] : [width, Math.round(height / ratio)];
  return Math.round(rotation / 90) % 2 ? size.reverse() : size;
}
