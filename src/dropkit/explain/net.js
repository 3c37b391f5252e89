"use strict";

/** A network 2 - width - width - 1 with ReLU and its backpropagation. */
class Net {
  constructor(width, random) {
    this.width = width;
    this.random = random;
    const normal = (rows, columns) =>
      Float64Array.from({ length: rows * columns }, () => random.normal() * Math.sqrt(2 / columns));
    this.weights = [normal(width, 2), normal(width, width), normal(1, width)];
    this.biases = [new Float64Array(width), new Float64Array(width), new Float64Array(1)];
    const zeros = (arrays) => arrays.map((array) => new Float64Array(array.length));
    this.slopes = [zeros(this.weights), zeros(this.biases)];
    this.moves = [zeros(this.weights), zeros(this.biases)];
    this.hidden = [new Float64Array(width), new Float64Array(width)];
    this.masks = [new Float64Array(width).fill(1), new Float64Array(width).fill(1)];
    this.errors = [new Float64Array(width), new Float64Array(width)];
    // Only use units of the first layer that are not 0; the others have no effect.
    this.active = new Uint16Array(width);
    this.count = 0;
  }

  /** Draw new masks: drop a unit with probability p, and multiply kept ones by 1 / (1 - p). */
  drop(p) {
    for (const mask of this.masks)
      for (let j = 0; j < this.width; j++)
        mask[j] = p === 0 ? 1 : this.random.uniform() >= p ? 1 / (1 - p) : 0;
  }

  /** Return the log-odds of class 1 at a point, with the current masks. */
  forward(x) {
    const [first, second] = this.hidden, [mask, mask2] = this.masks, { width, active } = this;
    const [weights, weights2, weights3] = this.weights, [biases, biases2, biases3] = this.biases;
    this.count = 0;
    for (let j = 0; j < width; j++) {
      const sum = biases[j] + weights[2 * j] * x[0] + weights[2 * j + 1] * x[1];
      first[j] = sum > 0 ? sum * mask[j] : 0;
      if (first[j] > 0) active[this.count++] = j;
    }
    let odds = biases3[0];
    for (let j = 0; j < width; j++) {
      second[j] = 0;
      if (mask2[j] === 0) continue;
      let sum = biases2[j];
      for (let k = 0; k < this.count; k++) sum += weights2[j * width + active[k]] * first[active[k]];
      if (sum > 0) second[j] = sum * mask2[j];
      odds += weights3[j] * second[j];
    }
    return odds;
  }

  /** Add the gradient of the logistic loss at one point to the slopes. */
  learn(x, label) {
    const wrong = 1 / (1 + Math.exp(-this.forward(x))) - label;
    const [first, second] = this.hidden, [errors, errors2] = this.errors, { width, active, count } = this;
    const [slopes, biasSlopes] = this.slopes, weights2 = this.weights[1];
    biasSlopes[2][0] += wrong;
    errors.fill(0);
    for (let j = 0; j < width; j++) {
      if (second[j] === 0) continue;
      slopes[2][j] += wrong * second[j];
      errors2[j] = wrong * this.weights[2][j] * this.masks[1][j];
      biasSlopes[1][j] += errors2[j];
      for (let k = 0; k < count; k++) {
        const i = active[k];
        slopes[1][j * width + i] += errors2[j] * first[i];
        errors[i] += errors2[j] * weights2[j * width + i];
      }
    }
    for (let k = 0; k < count; k++) {
      const j = active[k], error = errors[j] * this.masks[0][j];
      biasSlopes[0][j] += error;
      slopes[0][2 * j] += error * x[0];
      slopes[0][2 * j + 1] += error * x[1];
    }
  }

  /** Make one update by gradient descent with momentum 0.9; each point gets its own masks. */
  update(points, p, rate) {
    for (const { x, label } of points) {
      this.drop(p);
      this.learn(x, label);
    }
    this.drop(0);
    [this.weights, this.biases].forEach((kind, k) => kind.forEach((values, layer) => {
      const slopes = this.slopes[k][layer], moves = this.moves[k][layer];
      for (let i = 0; i < values.length; i++) {
        moves[i] = 0.9 * moves[i] + slopes[i] / points.length;
        values[i] -= rate * moves[i];
        slopes[i] = 0;
      }
    }));
  }

  /** Return the fraction of misclassified points, without dropout. */
  error(points) {
    return points.filter(({ x, label }) => this.forward(x) > 0 !== (label === 1)).length / points.length;
  }
}

window.explain.Net = Net;
