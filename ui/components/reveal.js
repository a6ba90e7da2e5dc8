export default function({ parentElement, data }) {
  const place = parentElement.host ?? parentElement, page = place.closest("[data-testid=stMain]");
  // The bar with Start covers the window's foot: what the keyboard reaches must stop above it.
  page.style.scrollPaddingBottom = "8rem";
  // On a phone the result is below everything else: bring it into sight once something starts there.
  const before = parentElement.started;
  parentElement.started = data.started;
  if (before === undefined || before === data.started) return;
  if (place.getBoundingClientRect().top > innerHeight * 0.7) place.scrollIntoView({ behavior: "smooth" });
}
