"use strict";

/** Two equal networks on the same few noisy points, one with dropout. */
(() => {
  const TRAIN = 100, TEST = 600, BATCH = 20, RATE = 0.05, WIDTH = 100, GRID = 56, LIMIT = 2.1, END = 3000;
  const slider = element("training-p"), noise = element("training-noise");
  const state = { updates: 0, errors: {}, running: false };
  let train, test, nets, order;

  /** Two half moons, some labels flipped in training. */
  function moons(count, random, spread, flipped) {
    return Array.from({ length: count }, (_, i) => {
      const label = i % 2, angle = Math.PI * random.uniform();
      const x = label ? 1 - Math.cos(angle) : Math.cos(angle);
      const y = label ? 0.5 - Math.sin(angle) : Math.sin(angle);
      const point = [(x - 0.5 + spread * random.normal()) * 1.1, (y - 0.25 + spread * random.normal()) * 1.5];
      return { x: point, label: random.uniform() < flipped ? 1 - label : label };
    });
  }

  function reset() {
    const random = generator(7), spread = Number(noise.value);
    train = moons(TRAIN, random, spread, 0.15);
    test = moons(TEST, random, spread, 0);
    nets = { without: new Net(WIDTH, generator(3)), with: new Net(WIDTH, generator(3)) };
    order = generator(11);
    state.updates = 0;
    measure();
    draw();
  }

  function step(count) {
    const p = Number(slider.value);
    for (let i = 0; i < count; i++) {
      const batch = Array.from({ length: BATCH }, () => train[Math.floor(order.uniform() * TRAIN)]);
      nets.without.update(batch, 0, RATE);
      nets.with.update(batch, p, RATE);
    }
    state.updates += count;
    measure();
  }

  function measure() {
    for (const [name, net] of Object.entries(nets))
      state.errors[name] = { train: net.error(train), test: net.error(test) };
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function drawNet(canvas, net) {
    const pen = canvas.getContext("2d"), side = canvas.width;
    const one = colour("--with"), zero = colour("--without"), cell = side / GRID;
    pen.globalAlpha = 1;
    pen.fillStyle = colour("--page");
    pen.fillRect(0, 0, side, side);
    for (let row = 0; row < GRID; row++)
      for (let column = 0; column < GRID; column++) {
        const x = ((column + 0.5) / GRID) * 2 * LIMIT - LIMIT;
        const y = LIMIT - ((row + 0.5) / GRID) * 2 * LIMIT;
        const chance = 1 / (1 + Math.exp(-net.forward([x, y], 0)));
        pen.globalAlpha = 0.08 + 0.42 * Math.abs(2 * chance - 1);
        pen.fillStyle = chance > 0.5 ? one : zero;
        pen.fillRect(column * cell, row * cell, cell, cell);
      }
    pen.globalAlpha = 1;
    for (const { x, label } of train) {
      pen.beginPath();
      const across = ((x[0] + LIMIT) / (2 * LIMIT)) * side, down = ((LIMIT - x[1]) / (2 * LIMIT)) * side;
      // Shape and colour both tell the class.
      if (label) pen.arc(across, down, side / 70, 0, 2 * Math.PI);
      else pen.rect(across - side / 80, down - side / 80, side / 40, side / 40);
      pen.fillStyle = label ? one : zero;
      pen.fill();
      pen.strokeStyle = colour("--page");
      pen.lineWidth = side / 220;
      pen.stroke();
    }
  }

  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  function draw() {
    for (const name of ["without", "with"]) {
      drawNet(element(`training-${name}`), nets[name]);
      element(`training-${name}-train`).textContent = percent(state.errors[name].train);
      element(`training-${name}-test`).textContent = percent(state.errors[name].test);
    }
    element("training-updates").textContent = state.updates.toLocaleString("en");
    element("training-p-shown").textContent = Number(slider.value).toFixed(2);
    element("training-noise-shown").textContent = Number(noise.value).toFixed(2);
  }

  function frame() {
    if (!state.running) return;
    step(60);
    draw();
    if (state.updates >= END) toggle(false);
    requestAnimationFrame(frame);
  }

  function toggle(running) {
    state.running = running;
    element("training-play").textContent = running ? "Pause" : "Train";
    // A screen reader hears the result when training rests, not at every frame.
    element("training-said").textContent = running || !state.updates ? "" :
      `After ${state.updates} updates the test error is ${percent(state.errors.without.test)} without dropout and ${percent(state.errors.with.test)} with it.`;
    if (running) requestAnimationFrame(frame);
  }

  element("training-play").addEventListener("click", () => toggle(!state.running));
  element("training-step").addEventListener("click", () => { step(100); draw(); toggle(false); });
  element("training-reset").addEventListener("click", () => { reset(); toggle(false); });
  noise.addEventListener("input", reset);
  slider.addEventListener("input", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  reset();
  window.explain.training = state;
  window.explain.train = (count) => { step(count); draw(); };
})();
