// The largest distance of backpropagation from finite differences, with the same masks.
() => {
  const seeded = () => {
    let state = 5;
    const uniform = () => (state = (state * 16807) % 2147483647) / 2147483647;
    return { uniform, normal: () => 0.3 };
  };
  const make = () => {
    const net = new explain.Net(6, seeded());
    net.weights.forEach((w, layer) => w.forEach((_, i) => (w[i] = Math.sin(3 * i + layer + 1))));
    net.biases.forEach((b, layer) => b.forEach((_, i) => (b[i] = 0.1 * Math.cos(i + layer))));
    net.random = seeded();
    net.drop(p);
    return net;
  };
  const x = [0.7, -0.4], p = 0.4, step = 1e-5;
  const loss = (net) => Math.log(1 + Math.exp(-net.forward(x)));
  const moved = (key, layer, i, by) => {
    const net = make();
    net[key][layer][i] += by;
    return loss(net);
  };
  const net = make();
  net.learn(x, 1);
  let worst = 0, nonzero = 0;
  ["weights", "biases"].forEach((key, kind) => net[key].forEach((values, layer) =>
    values.forEach((_, i) => {
      const slope = (moved(key, layer, i, step) - moved(key, layer, i, -step)) / (2 * step);
      worst = Math.max(worst, Math.abs(slope - net.slopes[kind][layer][i]));
      nonzero += slope !== 0;
    })));
  return nonzero > 10 ? worst : Infinity;
}
