// Sets the chosen theme before the first paint. A plain script on purpose: modules run after the page has been drawn.
try {
  const theme = JSON.parse(localStorage.getItem('lemmy.settings') ?? '{}')?.theme;
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the page follows the system.
}
