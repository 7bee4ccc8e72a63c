//! Pictures: plotters renders a picture as SVG, and resvg makes the same SVG into pixels for the PNG. The
//! font ships with Wick, so that the PNG looks the same on every system.

pub mod chart;
pub mod style;
mod ticks;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use resvg::{tiny_skia, usvg};

/// The area of a picture or of a part of it.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &[u8] = include_bytes!("../../../assets/font/DejaVuSans.subset.ttf");
/// Pixels of the PNG for each unit of the SVG.
const PNG_SCALE: f32 = 1.5;

/// A finished picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    svg: String,
}

impl Picture {
    /// Renders a picture of `size` (width, height) on white.
    ///
    /// # Errors
    /// Those of `render`.
    pub fn render(size: (u32, u32), render: impl FnOnce(&Area) -> Result<()>) -> Result<Self> {
        register_font(style::FAMILY, FontStyle::Normal, FONT)
            .map_err(|_| anyhow!("the font cannot be read"))?;
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE).map_err(cannot_draw)?;
            render(&area)?;
            area.present().map_err(cannot_draw)?;
        }
        Ok(Self { svg })
    }

    /// Writes `NAME.svg` and `NAME.png` in a folder, both or none, and prints their names on stderr.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        let files: [(PathBuf, Vec<u8>); 2] = [
            (folder.join(format!("{name}.svg")), self.svg.as_bytes().to_vec()),
            (folder.join(format!("{name}.png")), self.png()?),
        ];
        wick_files::write_all(&files)?;
        // A closed stderr is no reason to fail: the picture is written.
        let _ = writeln!(std::io::stderr(), "picture: {} and .svg", files[1].0.display());
        Ok(())
    }

    fn png(&self) -> Result<Vec<u8>> {
        let mut options = usvg::Options::default();
        let fonts = Arc::make_mut(&mut options.fontdb);
        fonts.load_font_data(FONT.to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        let tree = usvg::Tree::from_str(&self.svg, &options)?;
        let size = tree.size().to_int_size().scale_by(PNG_SCALE).context("an empty picture")?;
        let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).context("an empty picture")?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| anyhow!("cannot make a PNG: {error}"))
    }
}

/// Makes an error of plotters, which borrows the drawing area, into one that owns its text.
pub fn cannot_draw(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the picture: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_whole_and_the_text_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let with = |text: &'static str| {
            Picture::render((60, 30), |area| {
                area.draw_text(text, &style::text(14), (5, 5)).map_err(cannot_draw)
            })
            .unwrap()
        };
        let picture = with("Wσ∂");
        picture.save(folder.path(), "p").unwrap();
        let png = std::fs::read(folder.path().join("p.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert_ne!(png, with("").png().unwrap(), "no glyph was drawn");
        assert!(std::fs::read_to_string(folder.path().join("p.svg")).unwrap().contains("Wσ∂"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no other file is left");
        // If one of the two cannot be written, neither is.
        std::fs::create_dir(folder.path().join("q.png")).unwrap();
        assert!(picture.save(folder.path(), "q").unwrap_err().to_string().contains("q.png': it is a folder"));
        assert!(!folder.path().join("q.svg").exists());
    }
}
