export default function({ data }) {
  // Not a new entry of the browser's history for each knob: Back leaves the page.
  const address = location.pathname + (data.query && `?${data.query}`);
  if (location.pathname + location.search !== address) history.replaceState(history.state, "", address);
}
