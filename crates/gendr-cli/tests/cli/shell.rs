//! The commands around restoring: doctor, completions, manual pages.

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert, cargo_bin};

fn gendr(arguments: &str) -> OutputAssert {
    Command::new(cargo_bin!("gendr")).args(arguments.split(' ')).assert()
}

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_doctor_finds_the_right_pixels() {
    let told: Value = serde_json::from_str(&stdout(&gendr("doctor --json").success())).unwrap();
    assert_eq!(told["self_test"]["passed"], true);
    assert!(told["threads"].as_u64() >= Some(1) && told["memory_bytes"].as_u64() > Some(0));
    assert_eq!(told["devices"][0], "cpu");
    let text = stdout(&gendr("doctor").success());
    assert!(text.contains("self-test       passed: largest difference "), "{text}");
}

#[test]
fn every_shell_can_complete_options() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&gendr(&format!("completions {shell}")).success());
        assert!(script.contains("retry-failed") && script.contains("doctor"), "{shell}");
    }
}

#[test]
fn there_are_manual_pages() {
    let page = stdout(&gendr("man").success());
    assert!(page.contains(".TH gendr 1") && page.contains("gendr\\-restore(1)"), "{page}");
    let page = stdout(&gendr("man restore").success());
    assert!(page.contains("gendr\\-restore") && page.contains("\\-\\-max\\-drift"), "{page}");
    gendr("man nothing").code(2);
}
