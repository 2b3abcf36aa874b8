//! Options with which a socket's card is polled before its thread sleeps.

use std::io;
use std::os::fd::AsRawFd;

use super::socket::set_int;
use crate::limits;
use crate::tune::CoreSettings;

/// An option that the kernel refused.
#[derive(Debug)]
pub struct Refused {
    /// Its name.
    pub option: &'static str,
    /// The kernel's reason.
    pub error: io::Error,
    /// What the operator can do.
    pub remedy: &'static str,
}

/// Sets what the settings ask for beyond the kernel's defaults; what is refused is handed to `tell`, and the rest is set all the same.
pub fn set(socket: &impl AsRawFd, core: &CoreSettings, mut tell: impl FnMut(Refused)) {
    let options = [
        (
            core.busy_poll_us > 0,
            "SO_BUSY_POLL",
            libc::SO_BUSY_POLL,
            core.busy_poll_us,
            "grant CAP_NET_ADMIN (setcap cap_net_admin=+ep), or raise net.core.busy_read with sysctl to busy_poll_us",
        ),
        (
            core.prefer_busy_poll,
            "SO_PREFER_BUSY_POLL",
            SO_PREFER_BUSY_POLL,
            1,
            "grant CAP_NET_ADMIN (setcap cap_net_admin=+ep), or leave prefer_busy_poll off; it needs Linux 5.11",
        ),
        (
            core.busy_poll_budget != limits::BUSY_POLL_BUDGET,
            "SO_BUSY_POLL_BUDGET",
            SO_BUSY_POLL_BUDGET,
            u32::from(core.busy_poll_budget),
            "grant CAP_NET_ADMIN (setcap cap_net_admin=+ep), or leave busy_poll_budget at 8; it needs Linux 5.11",
        ),
    ];
    for (is_wanted, option, number, value, remedy) in options {
        // limits::BUSY_POLL_US_MAX fits.
        let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        if is_wanted && let Err(error) = set_int(socket, libc::SOL_SOCKET, number, value) {
            tell(Refused {
                option,
                error,
                remedy,
            });
        }
    }
}

/// asm-generic/socket.h; libc does not name it on every target.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
/// See [`SO_PREFER_BUSY_POLL`].
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn wanted() -> CoreSettings {
        CoreSettings {
            busy_poll_us: 77,
            busy_poll_budget: 16,
            prefer_busy_poll: true,
            ..CoreSettings::default()
        }
    }

    fn refused(core: &CoreSettings) -> Vec<&'static str> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut refused = Vec::new();
        set(&socket, core, |refusal| {
            assert!(!refusal.remedy.is_empty());
            refused.push(refusal.option);
        });
        refused
    }

    #[test]
    fn without_the_right_each_option_is_refused_by_name() {
        // Capabilities belong to a thread.
        let names = std::thread::spawn(|| {
            drop_capabilities();
            refused(&wanted())
        });
        let mut names = names.join().unwrap();
        // Newer kernels give this one to everybody.
        names.retain(|&name| name != "SO_BUSY_POLL");
        assert_eq!(names, ["SO_PREFER_BUSY_POLL", "SO_BUSY_POLL_BUDGET"]);
    }

    #[test]
    fn nothing_is_asked_for_by_default() {
        let names = std::thread::spawn(|| {
            drop_capabilities();
            refused(&CoreSettings::default())
        });
        assert!(names.join().unwrap().is_empty());
    }

    /// capset(2) for the calling thread: no capability is left.
    fn drop_capabilities() {
        // _LINUX_CAPABILITY_VERSION_3, this thread; effective, permitted and inheritable sets of 64 bits.
        let (header, none) = ([0x2008_0522u32, 0], [0u32; 6]);
        // SAFETY: the kernel reads eight octets of one and twenty-four of the other.
        let code = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
    }
}
