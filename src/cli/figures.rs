//! Numbers as people read them, rounded as LXC's tools round, without the formatting of floats: that would be 12 KB of the
//! program.

use core::fmt;

/// Bytes with LXC's units.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 >> shift != 0) {
            Some((shift, unit)) => write!(f, "{} {unit}", Hundredths(scaled(self.0, shift))),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Hundredths of 2^`shift` (1-63) in `value`, to the nearest; from the middle to the even one, as printf does.
pub fn scaled(value: u64, shift: u32) -> u64 {
    let (whole, rest) = (value >> shift, value & ((1 << shift) - 1));
    let odd = ((rest * 100) >> shift) & 1;
    let hundredths = (rest * 100 + (1 << (shift - 1)) - 1 + odd) >> shift;
    whole * 100 + hundredths
}

/// Nanoseconds as hundredths of a second, to the nearest.
pub fn seconds(nanoseconds: u64) -> Hundredths {
    Hundredths((nanoseconds / 5_000_000).div_ceil(2))
}

/// A number of hundredths as a decimal fraction.
pub struct Hundredths(pub u64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Seconds as `1d 2h 3m 4s`, the leading zeroes left out.
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
        let mut rest = self.0;
        for (length, unit) in units {
            if self.0 >= length {
                write!(f, "{}{unit} ", rest / length)?;
                rest %= length;
            }
        }
        write!(f, "{rest}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_rounds_as_a_float_is_rounded() {
        for (shift, unit) in [(10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB")] {
            let step = 1_u64 << (shift - 10);
            for count in (1_024..12_000).chain(1_048_000..1_048_576) {
                let bytes = count * step;
                let expected = format!("{:.2} {unit}", bytes as f64 / (1_u64 << shift) as f64);
                assert_eq!(Size(bytes).to_string(), expected, "{bytes}");
            }
        }
        assert_eq!(Size(1_023).to_string(), "1023 bytes");
        assert_eq!(Size(u64::MAX).to_string(), "16777216.00 TiB");
    }

    #[test]
    fn span_leaves_out_leading_zeroes() {
        assert_eq!(Span(59).to_string(), "59s");
        assert_eq!(Span(90_061).to_string(), "1d 1h 1m 1s");
        assert_eq!(Span(3_600).to_string(), "1h 0m 0s");
    }
}
