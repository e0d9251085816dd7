//! Which of several applications a request is for. Bytes in, a place in the list of mountpoints out.
//!
//! A mountpoint is a path without a slash at its end. It fits the paths that are equal to it and those that go on with a
//! slash behind it: `/shop` fits `/shop` and `/shop/cart`, never `/shopping`. The longest that fits counts.

use crate::plan::MountingPlan;

/// How the mountpoints are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// By the path: the mountpoint is to be cut off it.
    ByPath(usize),
    /// By the SCRIPT_NAME of the front end, which has taken the path apart.
    ByScriptName(usize),
    Nobody,
}

pub struct Mounts {
    points: Vec<Vec<u8>>,
    by_path: bool,
    by_script_name: bool,
}

impl Mounts {
    pub fn new(plan: &MountingPlan) -> Self {
        let points = plan.points.iter().map(|point| point.clone().into_bytes()).collect();
        Self { points, by_path: plan.by_path, by_script_name: plan.by_script_name }
    }

    /// How much of `path` is the mountpoint of the application that it chooses; 0 where it chooses none.
    pub fn cut(&self, path: &[u8]) -> usize {
        match self.choose(path, b"") {
            Chosen::ByPath(place) => self.points[place].len(),
            Chosen::ByScriptName(_) | Chosen::Nobody => 0,
        }
    }

    pub fn choose(&self, path: &[u8], script_name: &[u8]) -> Chosen {
        if self.by_path {
            let fitting = self.points.iter().enumerate().filter(|(_, point)| !point.is_empty() && begins(path, point));
            if let Some((place, _)) = fitting.max_by_key(|(_, point)| point.len()) {
                return Chosen::ByPath(place);
            }
        }
        let name = script_name.strip_suffix(b"/").unwrap_or(script_name);
        if !self.by_script_name || name.is_empty() {
            return Chosen::Nobody;
        }
        self.points.iter().position(|point| point == name).map_or(Chosen::Nobody, Chosen::ByScriptName)
    }
}

/// Whether `path` is `point`, or lies under it.
pub fn begins(path: &[u8], point: &[u8]) -> bool {
    path.strip_prefix(point).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(by_path: bool, by_script_name: bool) -> Mounts {
        let points = ["/shop", "/shop/admin", "", "/caf\u{e9}", "/s"].map(str::to_owned).to_vec();
        Mounts::new(&MountingPlan { by_path, by_script_name, points, ..MountingPlan::default() })
    }

    #[test]
    fn the_longest_mountpoint_that_ends_at_a_slash_counts() {
        let mounts = mounts(true, true);
        for (path, expected) in [
            (&b"/shop"[..], Chosen::ByPath(0)),
            (b"/shop/", Chosen::ByPath(0)),
            (b"/shop/cart", Chosen::ByPath(0)),
            (b"/shop//admin", Chosen::ByPath(0)),
            (b"/shop/admin/users", Chosen::ByPath(1)),
            (b"/shop/administration", Chosen::ByPath(0)),
            (b"/caf\xc3\xa9/x", Chosen::ByPath(3)),
            (b"/s/shop", Chosen::ByPath(4)),
            (b"/shopping", Chosen::Nobody),
            (b"/Shop", Chosen::Nobody),
            (b"/", Chosen::Nobody),
            (b"*", Chosen::Nobody),
            (b"", Chosen::Nobody),
        ] {
            assert_eq!(mounts.choose(path, b""), expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn a_front_end_names_the_mountpoint_where_the_path_does_not() {
        assert_eq!(mounts(false, true).choose(b"/shop/admin", b"/s"), Chosen::ByScriptName(4));
        assert_eq!(mounts(false, true).choose(b"/x", b"/shop/"), Chosen::ByScriptName(0));
        assert_eq!(mounts(true, true).choose(b"/x", b"/shop"), Chosen::ByScriptName(0));
        assert_eq!(mounts(true, true).choose(b"/s/x", b"/shop"), Chosen::ByPath(4));
        for name in [&b""[..], b"/", b"/other", b"/shop/x", b"shop"] {
            assert_eq!(mounts(false, true).choose(b"/shop", name), Chosen::Nobody, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_off_a_path() {
        assert_eq!(mounts(true, true).cut(b"/shop/cart"), 5);
        assert_eq!(mounts(true, true).cut(b"/shopping"), 0);
        assert_eq!(mounts(false, true).cut(b"/shop/cart"), 0);
    }

    #[test]
    fn it_can_be_ignored() {
        assert_eq!(mounts(false, false).choose(b"/shop", b"/shop"), Chosen::Nobody);
        assert_eq!(mounts(true, false).choose(b"/x", b"/shop"), Chosen::Nobody);
    }
}
