//! The files of the web page, as they are in `page/`.

/// A file that is part of the program.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal $media_type:ident),* $(,)?) => {
        &[$(File { name: $name, media_type: $media_type, bytes: include_bytes!(concat!("page/", $name)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// All of them: `index.html` at `/`, every one under `/assets/`.
pub(crate) const FILES: &[File] = files![
    "index.html" HTML,
    "icon.svg" PICTURE,
    "style.css" STYLE,
    "thread.css" STYLE,
    "api.js" SCRIPT,
    "app.js" SCRIPT,
    "composer.js" SCRIPT,
    "dialogs.js" SCRIPT,
    "dom.js" SCRIPT,
    "examples.js" SCRIPT,
    "images.js" SCRIPT,
    "inline.js" SCRIPT,
    "markdown.js" SCRIPT,
    "reply.js" SCRIPT,
    "request.js" SCRIPT,
    "settings.js" SCRIPT,
    "sidebar.js" SCRIPT,
    "store.js" SCRIPT,
    "theme.js" SCRIPT,
    "thread.js" SCRIPT,
    "watch.js" SCRIPT,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::FILES;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/page");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        there.sort();
        served.sort_unstable();
        assert_eq!(there, served);
    }
}
