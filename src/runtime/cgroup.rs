//! What this process's control group, version 1 or 2, allows it: CPUs and memory.

use std::fs;
use std::path::{Path, PathBuf};

/// The smallest CPU quota of the own group and those above it, in CPUs (0.5 = half of one). `None` = no quota, or
/// nothing readable. `root` is `/` outside tests.
pub fn cpu_quota(root: &Path) -> Option<f64> {
    least(root, "cpu", |version, folder| match version {
        1 => quota_v1(folder),
        _ => quota_v2(folder),
    })
}

/// The smallest memory limit of the own group and those above it, in octets; `None` as for [`cpu_quota`].
pub fn memory_limit(root: &Path) -> Option<u64> {
    least(root, "memory", |version, folder| {
        let file = match version {
            1 => "memory.limit_in_bytes",
            _ => "memory.max",
        };
        let limit: u64 = fs::read_to_string(folder.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // Version 1 writes "none" as the largest number of whole pages.
        (limit < UNLIMITED_OCTETS).then_some(limit)
    })
}

/// No machine has so much memory.
const UNLIMITED_OCTETS: u64 = 1 << 60;

/// The least of what `read` finds in the folders of this controller's group (version, folder) on the way up.
fn least<T: PartialOrd>(
    root: &Path,
    controller: &str,
    read: impl Fn(u8, &Path) -> Option<T>,
) -> Option<T> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mut least: Option<T> = None;
    for group in groups
        .lines()
        .filter_map(|line| Group::parse(line, controller))
    {
        for mount in mounts.lines().filter_map(Mount::parse) {
            if !group.is_on(&mount, controller) {
                continue;
            }
            for folder in group.folders(&mount, root) {
                let found = read(group.version, &folder);
                least = match (least, found) {
                    (Some(a), Some(b)) => Some(if b < a { b } else { a }),
                    (a, b) => a.or(b),
                };
            }
        }
    }
    least
}

/// A line of /proc/self/cgroup that may hold a bound of a controller.
struct Group<'a> {
    version: u8,
    path: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str, controller: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if number == "0" && controllers.is_empty() {
            return Some(Self { version: 2, path });
        }
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(Self { version: 1, path })
    }

    fn is_on(&self, mount: &Mount<'_>, controller: &str) -> bool {
        match self.version {
            1 => mount.kind == "cgroup" && mount.options.split(',').any(|name| name == controller),
            _ => mount.kind == "cgroup2",
        }
    }

    /// The folder of the group and those above it, up to the mount. In a container the mount shows the group itself
    /// as its root, with a path that may lie outside; then the mount is the group.
    fn folders(&self, mount: &Mount<'_>, root: &Path) -> Vec<PathBuf> {
        let top = root.join(mount.point.trim_start_matches('/'));
        let below = Path::new(self.path)
            .strip_prefix(mount.root)
            .unwrap_or(Path::new(""));
        let escapes = below.components().any(|part| part.as_os_str() == "..");
        let own = if escapes {
            top.clone()
        } else {
            top.join(below)
        };
        own.ancestors()
            .take_while(|folder| folder.starts_with(&top))
            .map(Path::to_path_buf)
            .collect()
    }
}

/// A line of /proc/self/mountinfo.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
        Some(Self {
            root,
            point,
            kind,
            options,
        })
    }
}

fn quota_v1(folder: &Path) -> Option<f64> {
    let number = |file: &str| {
        fs::read_to_string(folder.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    ratio(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn quota_v2(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let mut fields = text.split_whitespace();
    ratio(
        fields.next()?.parse().ok()?,
        fields.next().map_or(Some(100_000), |f| f.parse().ok())?,
    )
}

fn ratio(quota_us: i64, period_us: i64) -> Option<f64> {
    (quota_us > 0 && period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir()
                .join(format!("percoredns-cgroup-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn check(name: &str, files: &[(&str, &str)], expect: Option<f64>) {
        let tree = Tree::new(name, files);
        assert_eq!(cpu_quota(&tree.0), expect, "{name}");
    }

    const MOUNT_V2: (&str, &str) = (
        "proc/self/mountinfo",
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    );
    const MOUNT_V1: (&str, &str) = (
        "proc/self/mountinfo",
        "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    );

    #[test]
    fn version_2_takes_the_least_quota_on_the_way_up() {
        check(
            "v2",
            &[
                MOUNT_V2,
                ("proc/self/cgroup", "0::/kube/pod\n"),
                ("sys/fs/cgroup/kube/pod/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/kube/cpu.max", "150000 100000\n"),
            ],
            Some(1.5),
        );
    }

    #[test]
    fn version_2_in_a_container_reads_the_mount_itself() {
        check(
            "v2-container",
            &[
                MOUNT_V2,
                ("proc/self/cgroup", "0::/../../pod\n"),
                ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ],
            Some(0.5),
        );
    }

    #[test]
    fn version_1_reads_quota_and_period() {
        let group = ("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n");
        check(
            "v1",
            &[
                MOUNT_V1,
                group,
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ],
            Some(2.5),
        );
        check(
            "v1-unlimited",
            &[
                MOUNT_V1,
                group,
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ],
            None,
        );
    }

    #[test]
    fn memory_is_bounded_by_either_version() {
        let check = |name: &str, files: &[(&str, &str)], expect: Option<u64>| {
            let tree = Tree::new(name, files);
            assert_eq!(memory_limit(&tree.0), expect, "{name}");
        };
        let group = ("proc/self/cgroup", "4:memory:/a\n0::/b\n");
        check(
            "memory-v1",
            &[
                MOUNT_V1,
                group,
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n"),
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
            ],
            Some(1 << 20),
        );
        check(
            "memory-v2",
            &[
                MOUNT_V2,
                group,
                ("sys/fs/cgroup/b/memory.max", "max\n"),
                ("sys/fs/cgroup/memory.max", "2097152\n"),
            ],
            Some(2 << 20),
        );
        check("memory-none", &[MOUNT_V2, group], None);
    }

    #[test]
    fn what_is_absent_or_garbled_is_no_quota() {
        check("absent", &[("proc/self/other", "")], None);
        check(
            "garbled",
            &[
                MOUNT_V2,
                ("proc/self/cgroup", "0::/x\nnonsense\n:::\n"),
                ("sys/fs/cgroup/x/cpu.max", "many few\n"),
            ],
            None,
        );
    }
}
