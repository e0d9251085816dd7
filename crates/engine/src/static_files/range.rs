//! `Range`: which part of a file is asked for (RFC 9110, section 14).

/// What is asked for of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// No range, or one that is ignored.
    Whole,
    /// `first <= last < size`.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

impl Range {
    /// Read `Range` for a file of `size` bytes.
    ///
    /// ```text
    /// ranges-specifier = range-unit "=" range-set        (RFC 9110, section 14.1.1)
    /// range-set        = 1#( int-range / suffix-range )
    /// int-range        = first-pos "-" [ last-pos ]
    /// suffix-range     = "-" suffix-length
    /// ```
    /// What does not follow the grammar is ignored, as are several ranges, and any range of an empty file.
    pub fn parse(value: &[u8], size: u64) -> Range {
        let set = match value.trim_ascii().split_at_checked(5) {
            Some((unit, rest)) if unit.eq_ignore_ascii_case(b"bytes") => rest.strip_prefix(b"="),
            _ => None,
        };
        let Some(set) = set else { return Range::Whole };
        let mut ranges = set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|range| !range.is_empty());
        let (Some(range), None) = (ranges.next(), ranges.next()) else {
            return Range::Whole;
        };
        Range::parse_one(range, size).unwrap_or(Range::Whole)
    }

    fn parse_one(range: &[u8], size: u64) -> Option<Range> {
        let dash = memchr::memchr(b'-', range)?;
        let (first, last) = (&range[..dash], &range[dash + 1..]);
        if first.is_empty() {
            let suffix = decimal(last)?;
            return Some(match (suffix, size) {
                (_, 0) => Range::Whole,
                (0, _) => Range::Unsatisfiable,
                (suffix, size) => Range::Part { first: size.saturating_sub(suffix), last: size - 1 },
            });
        }
        let first = decimal(first)?;
        let last = if last.is_empty() { u64::MAX } else { decimal(last)? };
        if last < first || size == 0 {
            return None;
        }
        if first >= size {
            return Some(Range::Unsatisfiable);
        }
        Some(Range::Part { first, last: last.min(size - 1) })
    }
}

/// 1*DIGIT; a number too large for any file is the largest there is.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = u64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_largest_file_do_not_overflow() {
        let whole = Range::Part { first: 0, last: u64::MAX - 1 };
        assert_eq!(Range::parse(b"bytes=0-", u64::MAX), whole);
        assert_eq!(Range::parse(b"bytes=-18446744073709551615", u64::MAX), whole);
        assert_eq!(Range::parse(b"bytes=18446744073709551615-", u64::MAX), Range::Unsatisfiable);
        assert_eq!(Range::parse(b"bytes=-0", u64::MAX), Range::Unsatisfiable);
    }
}
