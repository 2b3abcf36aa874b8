//! Files that are whole, cut, damaged, foreign, old, unwritable, or written by someone else at the same time.

use std::{
    ffi::{CStr, CString},
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use super::{
    super::{
        Key, NewEntry, Pin, Plan, Share, Store, Table,
        tests::{key, name, put, reply},
    },
    format::{FIELDS, HEAD},
    *,
};
use crate::{control::kept::beside, limits, testing::files::Dir};

const S: u64 = 1_000_000_000;
const NOW: Now = Now {
    mono_ns: 1_000 * S,
    wall_ns: 1_700_000_000 * S,
};

fn later(seconds: u64) -> Now {
    Now {
        // The machine was started anew meanwhile.
        mono_ns: 3 * S,
        wall_ns: NOW.wall_ns + seconds * S,
    }
}

/// A store with entries of both tables, ages and lifetimes.
fn filled(count: u32) -> Arc<Store> {
    let store = Store::new(2, 10_000, 10_000, 0);
    for n in 0..count {
        let name = name(&format!("n{n}"));
        let stored_ns = NOW.mono_ns - u64::from(n % 10) * S;
        let table = if n % 3 == 0 {
            Table::Denial
        } else {
            Table::Success
        };
        put(
            &store,
            table,
            &key(&name),
            &[n as u8, 2],
            20 + n % 50,
            stored_ns,
        )
        .unwrap();
    }
    store
}

fn file(dir: &Dir) -> PathBuf {
    dir.path().join("cache.snapshot")
}

fn save(path: &Path, stores: &[(&str, &Store)]) -> io::Result<Written> {
    write(path, stores, NOW, &|| true)
}

fn load(path: &Path, digest: &str, now: Now) -> (Arc<Store>, Loaded) {
    let store = Store::new(3, 10_000, 10_000, 0);
    let mut snapshot = open(path, now).unwrap().expect("a file");
    let loaded = snapshot.load(digest, &store, now).unwrap();
    (store, loaded)
}

fn reason(path: &Path, now: Now) -> String {
    match open(path, now) {
        Err(reason) => reason.to_string(),
        Ok(_) => "accepted".to_owned(),
    }
}

#[test]
fn what_was_written_is_read() {
    let dir = Dir::new();
    let store = filled(500);
    let a = name("n7");
    let hot = store.lookup(&Pin::new(), &key(&a)).success.unwrap().image();
    store
        .lookup(&Pin::new(), &key(&a))
        .success
        .unwrap()
        .mark_visited();
    let written = save(&file(&dir), &[("digest", &store)]).unwrap();
    assert_eq!((written.entries, written.left_out), (500, 0));
    let meta = fs::metadata(file(&dir)).unwrap();
    assert_eq!(meta.len(), written.octets);
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert!(!beside(&file(&dir)).exists());

    let (back, loaded) = load(&file(&dir), "digest", later(5));
    let expect = Loaded {
        entries: 500,
        ..Loaded::default()
    };
    assert_eq!(loaded, expect);
    let pin = Pin::new();
    for n in 0..500 {
        let name = name(&format!("n{n}"));
        let (old, new) = (
            store.lookup(&pin, &key(&name)),
            back.lookup(&pin, &key(&name)),
        );
        let (old, new) = match n % 3 {
            0 => (old.denial.unwrap(), new.denial.unwrap()),
            _ => (old.success.unwrap(), new.success.unwrap()),
        };
        assert_eq!(old.wire(), new.wire());
        assert_eq!(old.ttl_offsets(), new.ttl_offsets());
        assert_eq!(old.ttl_s(), new.ttl_s(), "the original lifetime");
        assert_eq!(
            old.ttl_left_s(NOW.mono_ns) - 5,
            new.ttl_left_s(later(5).mono_ns)
        );
        assert_eq!(old.uncompressed_len(), new.uncompressed_len());
        assert_eq!(n == 7, new.is_visited());
    }
    assert_ne!(hot, store.lookup(&pin, &key(&a)).success.unwrap().image());
}

#[test]
fn every_field_of_a_key_comes_back() {
    let dir = Dir::new();
    let store = Store::new(1, 100, 100, 0);
    let a = name("a");
    let (mut wire, ttl_offsets) = reply(&a, &[9]);
    wire[15..19].copy_from_slice(&[0, 28, 0, 3]);
    let fields = [(false, false), (true, false), (false, true), (true, true)];
    for (n, (dnssec_ok, checking_disabled)) in fields.into_iter().enumerate() {
        let key = Key::new(
            crate::wire::name::hash(&a),
            &a,
            28,
            3,
            dnssec_ok,
            checking_disabled,
        );
        let new = NewEntry {
            wire: &wire,
            ttl_offsets: &ttl_offsets,
            ttl_s: 60,
            uncompressed_len: n as u16,
            wildcard: b"\x01*\0",
            hits: n as u32,
        };
        let writer = store.writer(0).unwrap();
        writer
            .insert(Table::Success, &key, &new, NOW.mono_ns)
            .unwrap();
    }
    save(&file(&dir), &[("digest", &store)]).unwrap();
    let (back, _) = load(&file(&dir), "digest", NOW);
    for (n, (dnssec_ok, checking_disabled)) in fields.into_iter().enumerate() {
        let key = Key::new(
            crate::wire::name::hash(&a),
            &a,
            28,
            3,
            dnssec_ok,
            checking_disabled,
        );
        let pin = Pin::new();
        let entry = back.lookup(&pin, &key).success.unwrap();
        assert_eq!((entry.uncompressed_len(), entry.hits()), (n, n as u32));
        assert_eq!(entry.wildcard(), b"\x01*\0");
    }
}

#[test]
fn time_goes_on_while_the_file_lies_there() {
    let dir = Dir::new();
    let store = filled(500);
    save(&file(&dir), &[("digest", &store)]).unwrap();
    let alive = |seconds: i64| {
        let left = |n: i64| 20 + n % 50 - n % 10 - seconds > 0;
        (0..500).filter(|&n| left(n)).count() as u64
    };
    for seconds in [0, 15, 30, 60] {
        let (back, loaded) = load(&file(&dir), "digest", later(seconds));
        assert_eq!(loaded.entries, alive(seconds as i64), "after {seconds} s");
        assert_eq!(loaded.entries + loaded.expired, 500);
        let held = back.len(Table::Success) + back.len(Table::Denial);
        assert_eq!(held as u64, loaded.entries);
    }
    // Where stale answers are served they are kept.
    let stale = Store::new(1, 1_000, 1_000, 3_600);
    let mut snapshot = open(&file(&dir), later(60)).unwrap().unwrap();
    assert_eq!(
        snapshot.load("digest", &stale, later(60)).unwrap().entries,
        500
    );
}

#[test]
fn each_store_gets_its_own_and_a_changed_one_nothing() {
    let dir = Dir::new();
    let (one, two) = (filled(10), filled(30));
    save(&file(&dir), &[("one", &one), ("two", &two)]).unwrap();
    let mut snapshot = open(&file(&dir), NOW).unwrap().unwrap();
    let mut count = |digest: &str| {
        let store = Store::new(1, 1_000, 1_000, 0);
        snapshot.load(digest, &store, NOW).unwrap().entries
    };
    assert_eq!(count("changed"), 0);
    assert_eq!((count("two"), count("one")), (30, 10));
    assert_eq!(count("one"), 0, "a section is given once");
}

#[test]
fn a_smaller_store_keeps_its_bound_and_shares_may_differ() {
    let dir = Dir::new();
    let store = filled(600);
    save(&file(&dir), &[("digest", &store)]).unwrap();
    let small = Store::planned(&Plan {
        shares: [1, 7]
            .map(|weight| Share {
                weight,
                huge_pages: false,
            })
            .to_vec(),
        success: 50,
        denial: 20,
        grace_s: 0,
    });
    let mut snapshot = open(&file(&dir), NOW).unwrap().unwrap();
    snapshot.load("digest", &small, NOW).unwrap();
    assert_eq!(
        (small.len(Table::Success), small.len(Table::Denial)),
        (50, 20)
    );
}

#[test]
fn nothing_there_is_no_error() {
    let dir = Dir::new();
    assert!(open(&file(&dir), NOW).unwrap().is_none());
}

#[test]
fn a_file_cut_anywhere_is_ignored() {
    let dir = Dir::new();
    save(&file(&dir), &[("digest", &filled(12))]).unwrap();
    let whole = fs::read(file(&dir)).unwrap();
    for len in 0..whole.len() {
        fs::write(file(&dir), &whole[..len]).unwrap();
        let said = reason(&file(&dir), NOW);
        assert_eq!(said, "it is cut short or has something behind it", "{len}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    fs::write(file(&dir), &longer).unwrap();
    assert_eq!(reason(&file(&dir), NOW), Rejected::Length.to_string());
    fs::write(file(&dir), &whole).unwrap();
    assert_eq!(reason(&file(&dir), NOW), "accepted");
}

#[test]
fn a_file_with_any_bit_flipped_is_ignored() {
    let dir = Dir::new();
    save(&file(&dir), &[("digest", &filled(5))]).unwrap();
    let whole = fs::read(file(&dir)).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(file(&dir), &damaged).unwrap();
        assert_ne!(reason(&file(&dir), NOW), "accepted", "bit {bit}");
    }
}

/// Writes `change` over the file and gives it a right checksum.
fn forge(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    use sha2::{Digest, Sha256};
    let mut octets = fs::read(path).unwrap();
    change(&mut octets);
    let mut sum = Sha256::new();
    sum.update(&octets[HEAD..]);
    sum.update(&octets[..HEAD - 32]);
    octets[HEAD - 32..HEAD].copy_from_slice(&sum.finalize());
    fs::write(path, octets).unwrap();
}

#[test]
fn each_reason_is_named() {
    let dir = Dir::new();
    let check = |change: &dyn Fn(&mut Vec<u8>), now: Now, expect: &str| {
        save(&file(&dir), &[("digest", &filled(5))]).unwrap();
        forge(&file(&dir), |octets| change(octets));
        assert_eq!(reason(&file(&dir), now), expect);
    };
    check(&|_| {}, NOW, "accepted");
    check(
        &|octets| octets[0] = b'x',
        NOW,
        "it is no snapshot of a cache",
    );
    let version = "it is of version 2, this program reads version 1";
    check(&|octets| octets[8] = 2, NOW, version);
    check(&|_| {}, later(24 * 3_600), "accepted");
    check(&|_| {}, later(24 * 3_600 + 1), "it is too old: 86401 s");
    let before = Now {
        wall_ns: NOW.wall_ns - 61 * S,
        ..NOW
    };
    check(
        &|_| {},
        before,
        "it was written 61 s from now; is the clock wrong?",
    );
    let damaged = "it is damaged: its checksum is wrong";
    check(&|octets| octets[12] = 2, NOW, damaged);

    fs::set_permissions(file(&dir), Permissions::from_mode(0o602)).unwrap();
    assert_eq!(
        reason(&file(&dir), NOW),
        "everybody may write to it (chmod 600)"
    );
    assert_eq!(reason(dir.path(), NOW), "it is no regular file");
    let large = File::create(file(&dir)).unwrap();
    large
        .set_permissions(Permissions::from_mode(0o600))
        .unwrap();
    large.set_len(limits::CACHE_SNAPSHOT_OCTETS + 1).unwrap();
    assert_eq!(
        reason(&file(&dir), NOW),
        "it is larger than 4294967296 octets"
    );
}

#[test]
fn entries_that_contradict_themselves_are_left_out() {
    let dir = Dir::new();
    let one = HEAD + FIELDS;
    // Each change hits the one entry of the file: 2 offsets, a header of 12 octets, the question 02 'n' '1' 00.
    for (at, octet) in [
        (one, 0xff),          // an offset beyond the reply
        (one + 4 + 12, 9),    // a label that is longer than its name
        (one + 4 + 13, b'N'), // upper case, which no key has
        (HEAD + 1, 200),      // a name that is longer than the reply
    ] {
        let store = Store::new(1, 10, 10, 0);
        put(
            &store,
            Table::Success,
            &key(&name("n1")),
            &[1, 2],
            60,
            NOW.mono_ns,
        )
        .unwrap();
        save(&file(&dir), &[("digest", &store)]).unwrap();
        forge(&file(&dir), |octets| octets[at] = octet);
        let (back, loaded) = load(&file(&dir), "digest", NOW);
        assert_eq!((loaded.entries, loaded.refused), (0, 1), "{at}");
        assert!(back.is_empty());
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let dir = Dir::new();
    save(&file(&dir), &[("digest", &filled(5))]).unwrap();
    let old = fs::read(file(&dir)).unwrap();
    let same = || assert_eq!(fs::read(file(&dir)).unwrap(), old);

    // Told to stop.
    let interrupted = write(&file(&dir), &[("digest", &filled(50))], NOW, &|| false);
    assert_eq!(interrupted.unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert!(!beside(&file(&dir)).exists());
    same();
    // Another process is at it.
    let other = File::create(beside(&file(&dir))).unwrap();
    other.lock().unwrap();
    let error = save(&file(&dir), &[("digest", &filled(50))]).unwrap_err();
    assert_eq!(error.to_string(), "another process is writing it");
    same();
    drop(other);
    // A link that leads elsewhere.
    fs::remove_file(beside(&file(&dir))).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    symlink(&elsewhere, beside(&file(&dir))).unwrap();
    save(&file(&dir), &[("digest", &filled(50))]).unwrap_err();
    assert!(!elsewhere.exists());
    same();
    fs::remove_file(beside(&file(&dir))).unwrap();
    // No such directory.
    let nowhere = dir.path().join("none/file");
    let error = save(&nowhere, &[("digest", &filled(50))]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    // A directory in its place.
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    save(&place, &[("digest", &filled(50))]).unwrap_err();
    assert!(place.is_dir() && !beside(&place).exists());
}

/// What a process leaves that was killed while it wrote: a part of the new file beside the old one.
#[test]
fn a_process_killed_while_it_wrote_leaves_the_old_file_whole() {
    let dir = Dir::new();
    save(&file(&dir), &[("digest", &filled(5))]).unwrap();
    let next = dir.path().join("next");
    save(&next, &[("digest", &filled(50))]).unwrap();
    let new = fs::read(&next).unwrap();
    for len in (0..new.len()).step_by(97) {
        fs::write(beside(&file(&dir)), &new[..len]).unwrap();
        assert_eq!(load(&file(&dir), "digest", NOW).1.entries, 5, "{len}");
    }
    // The next write takes its place, with rights for nobody else.
    fs::set_permissions(beside(&file(&dir)), Permissions::from_mode(0o666)).unwrap();
    save(&file(&dir), &[("digest", &filled(50))]).unwrap();
    assert_eq!(load(&file(&dir), "digest", NOW).1.entries, 50);
    let mode = fs::metadata(file(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let dir = Dir::new();
    // In a mount namespace of this thread alone, which ends with it.
    // SAFETY: concerns this thread's view of the file system only.
    let is_apart = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let target = CString::new(dir.path().as_os_str().as_bytes()).unwrap();
    let mount = |source: &CStr, target: &CStr, kind: &CStr, flags, data: &CStr| {
        let data = data.as_ptr().cast();
        // SAFETY: all are strings that end with a zero and live for the call.
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) == 0 }
    };
    let private = libc::MS_REC | libc::MS_PRIVATE;
    if !is_apart
        || !mount(c"none", c"/", c"none", private, c"")
        || !mount(c"tmpfs", &target, c"tmpfs", 0, c"size=64k")
    {
        eprintln!("SKIPPED: a full disk: mounting a tmpfs needs root (CAP_SYS_ADMIN)");
        return;
    }
    save(&file(&dir), &[("digest", &filled(5))]).unwrap();
    let old = fs::read(file(&dir)).unwrap();
    let error = save(&file(&dir), &[("digest", &filled(5_000))]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(file(&dir)).unwrap(), old);
    assert!(!beside(&file(&dir)).exists(), "the room is given back");
    save(&file(&dir), &[("digest", &filled(6))]).unwrap();
    assert_eq!(load(&file(&dir), "digest", NOW).1.entries, 6);
}

#[test]
fn a_directory_that_may_not_be_written_is_told() {
    let dir = Dir::new();
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } == 0 {
        // Root may write everywhere, but for what the kernel makes itself.
        let error = save(Path::new("/proc/cache.snapshot"), &[]).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::Interrupted);
        return;
    }
    fs::set_permissions(dir.path(), Permissions::from_mode(0o500)).unwrap();
    let error = save(&file(&dir), &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn it_is_written_while_the_store_changes() {
    let dir = Dir::new();
    let store = filled(2_000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (done, store) = (&done, &store);
        scope.spawn(move || {
            let mut n = 0u32;
            while !done.load(Relaxed) {
                n += 1;
                let name = name(&format!("m{}", n % 20_000));
                put(store, Table::Success, &key(&name), &[1], 600, NOW.mono_ns).unwrap();
            }
        });
        for _ in 0..8 {
            save(&file(&dir), &[("digest", store)]).unwrap();
            let (_, loaded) = load(&file(&dir), "digest", NOW);
            assert_eq!((loaded.expired, loaded.refused), (0, 0));
            // Denials stay as they are meanwhile.
            assert!(loaded.entries >= 667);
        }
        done.store(true, Relaxed);
    });
    assert!(store.len(Table::Success) > 1_333, "it did change");
}
