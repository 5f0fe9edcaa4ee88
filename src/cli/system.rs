//! Facts of the machine and of this process. Where the system does not tell, the answer is `None`.

use std::fs::read_to_string;

use lemmy_core::backend::cpu::kernels::matmul;

/// The instruction set that the CPU backend chooses here.
pub(crate) fn isa() -> &'static str {
    matmul::detect().name()
}

/// Name of the CPU.
pub(crate) fn cpu() -> Option<String> {
    let info = read_to_string("/proc/cpuinfo").ok()?;
    field(&info, "model name").map(str::to_owned)
}

/// Frequency governor of the first CPU.
pub(crate) fn governor() -> Option<String> {
    let text = read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_owned())
}

/// Bytes of the largest cache of the first CPU.
pub(crate) fn last_level_cache() -> Option<u64> {
    let read = |index: u32| read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok();
    (0..8)
        .filter_map(read)
        .filter_map(|size| size.trim().strip_suffix('K')?.parse::<u64>().ok()?.checked_mul(1024))
        .max()
}

/// Runnable processes, averaged over the last minute.
pub(crate) fn load_average() -> Option<f64> {
    read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The most physical memory that this process ever had, mapped file pages included.
pub(crate) fn peak_resident_bytes() -> Option<u64> {
    kib(field(&read_to_string("/proc/self/status").ok()?, "VmHWM")?)
}

/// Bytes that can still be used without pushing others out: the machine's, or the control group's if that is less.
pub(crate) fn available_memory() -> Option<u64> {
    let machine = kib(field(&read_to_string("/proc/meminfo").ok()?, "MemAvailable")?)?;
    Some(machine.min(group_memory().unwrap_or(u64::MAX)))
}

/// The most address space that this process may use, if that is limited.
pub(crate) fn address_space_limit() -> Option<u64> {
    limit("Max address space")
}

/// The most memory that this process may lock, if that is limited.
pub(crate) fn locked_memory_limit() -> Option<u64> {
    limit("Max locked memory")
}

/// A limit of this process in bytes, if there is one.
fn limit(name: &str) -> Option<u64> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the control group (version 2) of this process leaves; page cache counts as free, since it is given back.
fn group_memory() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let read = |name: &str| read_to_string(format!("/sys/fs/cgroup/{path}/{name}")).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let statistics = read("memory.stat")?;
    let cache = statistics.lines().find_map(|line| line.strip_prefix("file ")?.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

/// The value of the first line `name : value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Bytes of a value such as "123 kB".
fn kib(value: &str) -> Option<u64> {
    value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "VmPeak:\t  12 kB\nVmHWM:\t     3456 kB\nmodel name\t: A: B\n";
        assert_eq!(field(text, "VmHWM").and_then(kib), Some(3456 * 1024));
        assert_eq!(field(text, "model name"), Some("A: B"));
        assert_eq!(field(text, "VmRSS"), None);
    }
}
