//! Processes that are killed, or that run out of room, while they train.

use crate::{
    common::{data, newest_checkpoint, paths},
    regress::CONFIG,
};
use gendr_train::{
    Silent, parse_config,
    regress::{RegressConfig, run},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const FOLDER: &str = "GENDR_TEST_DATA";

fn config() -> RegressConfig {
    let mut config: RegressConfig = parse_config(CONFIG).expect("a configuration");
    config.training.steps = 120;
    config.checkpoints.every = 3;
    config.validation.every = 1000;
    config
}

/// No test of its own: the process that the others start, and may kill.
#[test]
#[ignore = "run by the other tests"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let report = run(&config(), &paths(Path::new(&folder), "killed"), &Silent, &|| false);
    assert!(report.is_ok(), "{report:?}");
}

/// This test program, running `child` alone.
fn child_command(shell_prefix: &str, data: &Path) -> Command {
    let program = std::env::current_exe().expect("this program");
    let line = format!("{shell_prefix} exec \"$0\" --exact interrupted::child --ignored --nocapture");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(program).env(FOLDER, data);
    command.stdout(Stdio::null());
    command
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_same_weights() {
    let data = data();
    let whole = paths(data.path(), "whole");
    run(&config(), &whole, &Silent, &|| false).expect("a run");
    let killed = paths(data.path(), "killed").run;
    let mut kills = 0;
    for attempt in 0.. {
        assert!(attempt < 60, "no end after {attempt} attempts");
        let mut child = child_command("", data.path()).spawn().expect("a process");
        // Longer and longer, at no particular place of a step.
        let end = Instant::now() + Duration::from_millis(150 + 37 * attempt);
        let finished = loop {
            if let Some(status) = child.try_wait().expect("a process") {
                break Some(status);
            }
            if Instant::now() > end {
                child.kill().expect("a process");
                child.wait().expect("a process");
                break None;
            }
            sleep(Duration::from_millis(3));
        };
        match finished {
            Some(status) => {
                assert!(status.success(), "a run that was killed before fails");
                break;
            }
            None => kills += 1,
        }
    }
    assert!(kills > 0, "the run ended before it was killed");
    let state = |run: &Path| fs::read(newest_checkpoint(run)).expect("readable");
    assert!(state(&whole.run) == state(&killed), "weights differ after {kills} kills");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_the_last_checkpoint_survives() {
    let data = data();
    let folder = paths(data.path(), "killed").run;
    // Pairs and one checkpoint exist; then no file may grow beyond 8 KiB.
    let mut child = child_command("", data.path()).spawn().expect("a process");
    assert!(child.wait().expect("a process").success());
    let good = newest_checkpoint(&folder);
    let before = fs::read(&good).expect("readable");
    let older = folder.join("checkpoint-00000117.safetensors");
    fs::rename(&good, folder.join("kept")).expect("room");
    let child = child_command("trap '' XFSZ; ulimit -f 16;", data.path()).output().expect("a process");
    let message = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(!child.status.success() && message.contains("Io"), "{message}");
    assert_eq!(newest_checkpoint(&folder), older);
    let child = child_command("", data.path()).output().expect("a process");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(before == fs::read(newest_checkpoint(&folder)).expect("readable"));
}
