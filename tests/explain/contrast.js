// Contrast of every text colour with every background, as WCAG counts it.
() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = (name) => {
    probe.style.color = `var(${name})`;
    const rgb = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3);
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = ["--ink", "--soft", "--with", "--without"];
  return texts.flatMap((text) => ["--page", "--card"].map((back) => contrast(text, back)));
}
