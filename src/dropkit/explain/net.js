"use strict";

/** A network 2 - width - width - 1 with ReLU, trained by hand-written backpropagation. */
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
  }

  /** The log-odds of class 1 at a point; in training units are dropped, and kept ones divided by 1 - p. */
  forward(x, p) {
    let input = x;
    for (let layer = 0; layer < 2; layer++) {
      const weights = this.weights[layer], output = this.hidden[layer], mask = this.masks[layer];
      for (let j = 0; j < this.width; j++) {
        mask[j] = p === 0 ? 1 : this.random.uniform() >= p ? 1 / (1 - p) : 0;
        let sum = 0;
        if (mask[j] > 0) {
          sum = this.biases[layer][j];
          for (let i = 0; i < input.length; i++) sum += weights[j * input.length + i] * input[i];
        }
        output[j] = sum > 0 ? sum * mask[j] : 0;
      }
      input = output;
    }
    let sum = this.biases[2][0];
    for (let i = 0; i < this.width; i++) sum += this.weights[2][i] * input[i];
    return sum;
  }

  /** Add the gradient of the logistic loss at one point to the slopes. */
  learn(x, label, p) {
    const [first, second] = this.hidden, width = this.width;
    const [slopes, biasSlopes] = this.slopes;
    const wrong = 1 / (1 + Math.exp(-this.forward(x, p))) - label;
    biasSlopes[2][0] += wrong;
    for (let j = 0; j < width; j++) {
      slopes[2][j] += wrong * second[j];
      this.errors[1][j] = second[j] > 0 ? wrong * this.weights[2][j] * this.masks[1][j] : 0;
    }
    this.errors[0].fill(0);
    for (let j = 0; j < width; j++) {
      const error = this.errors[1][j];
      if (error === 0) continue;
      biasSlopes[1][j] += error;
      for (let i = 0; i < width; i++) {
        slopes[1][j * width + i] += error * first[i];
        this.errors[0][i] += error * this.weights[1][j * width + i];
      }
    }
    for (let j = 0; j < width; j++) {
      const error = first[j] > 0 ? this.errors[0][j] * this.masks[0][j] : 0;
      biasSlopes[0][j] += error;
      for (let i = 0; i < 2; i++) slopes[0][j * 2 + i] += error * x[i];
    }
  }

  /** One update by stochastic gradient descent with momentum 0.9. */
  update(points, p, rate) {
    for (const { x, label } of points) this.learn(x, label, p);
    [this.weights, this.biases].forEach((kind, k) => kind.forEach((values, layer) => {
      const slopes = this.slopes[k][layer], moves = this.moves[k][layer];
      for (let i = 0; i < values.length; i++) {
        moves[i] = 0.9 * moves[i] + slopes[i] / points.length;
        values[i] -= rate * moves[i];
        slopes[i] = 0;
      }
    }));
  }

  /** The share of points on the wrong side. */
  error(points) {
    const wrong = points.filter(({ x, label }) => this.forward(x, 0) > 0 !== (label === 1));
    return wrong.length / points.length;
  }
}

window.explain.Net = Net;
