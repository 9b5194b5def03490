//! Lines that all end alike: a reader of CSV counts one too few where they end in CR LF.

use std::io::{self, Read};

/// Leaves out each CR that stands before an LF.
pub struct Lines<R> {
    inner: R,
    /// A CR was read, and what follows it was not.
    owes: bool,
}

impl<R: Read> Lines<R> {
    /// The lines of a reader.
    pub fn new(inner: R) -> Self {
        Self { inner, owes: false }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() < 2 {
            return self.inner.read(buffer);
        }
        loop {
            let start = usize::from(self.owes);
            if self.owes {
                buffer[0] = b'\r';
            }
            let read = self.inner.read(&mut buffer[start..])?;
            let length = start + read;
            self.owes = read > 0 && buffer[length - 1] == b'\r';
            let whole = if self.owes { length - 1 } else { length };
            let mut kept = 0;
            for index in 0..whole {
                let before_lf = buffer[index] == b'\r' && index + 1 < whole && buffer[index + 1] == b'\n';
                if !before_lf {
                    buffer[kept] = buffer[index];
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out a few bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_every_cr_before_an_lf_is_left_out(text in "[ab\r\n]{0,30}", step in 1_usize..5) {
            let mut read = String::new();
            let mut reader = Lines::new(Slowly(text.as_bytes(), step));
            let mut buffer = [0; 7];
            loop {
                let length = reader.read(&mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                read.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            prop_assert_eq!(read, text.replace("\r\n", "\n"));
        }
    }
}
