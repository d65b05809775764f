//! idx files: images, and labels.

use dfdx_noprop::data::idx_files;

/// `[rows, 2, 2]` bytes, and `[rows]`.
fn files(rows: u8) -> [Vec<u8>; 2] {
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, rows, 0, 0, 0, 2, 0, 0, 0, 2];
    images.extend((0..4 * rows).map(|i| i.wrapping_mul(7)));
    let mut labels = vec![0, 0, 8, 1, 0, 0, 0, rows];
    labels.extend((0..rows).map(|i| i % 3));
    [images, labels]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [images, labels] = files(5);
    let (image_file, label_file) = (fuzz::scratch()?, fuzz::scratch()?);
    let seeds = [images.clone(), labels.clone(), files(0)[0].clone(), files(1)[1].clone()];
    fuzz::fuzz("idx", &seeds, |bytes| {
        // As images with labels that are right, and as labels of images that are.
        let pairs = [(bytes, &labels[..]), (&images[..], bytes)];
        pairs.into_iter().any(|(images, labels)| {
            std::fs::write(image_file.path(), images).is_ok()
                && std::fs::write(label_file.path(), labels).is_ok()
                && idx_files::<4, 3>(image_file.path(), label_file.path()).is_ok()
        })
    });
    Ok(())
}
