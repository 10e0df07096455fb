"""What every service manager must show, in order; each begins and ends with a stopped container."""

import os
import re
import signal
import time

from host import wait_for

# What is "not" seen is looked for this long: longer than the pause of any manager.
QUIET = 2


def begin(manager, container):
    """Starts the service; comes back when the manager says that it is up."""
    code, output = manager.host.run(*manager.start)
    assert code == 0, f"start: {code}, {output}"
    assert manager.up(), "not up after its start"
    assert container.supervisor(), "no supervisor"


def end(manager, container):
    code, output = manager.host.run(*manager.stop)
    assert code == 0, f"stop: {code}, {output}"
    assert manager.down(), "not down after its stop"
    container.assert_nothing_left()


def up_only_when_the_container_runs(manager, container):
    container.close_gate()
    with manager.host.spawn(*manager.start) as starter:
        wait_for("the start", container.waits_at_the_gate)
        assert not manager.up(), "up before the container runs"
        time.sleep(0.3)
        assert starter.poll() is None and not manager.up(), "up before the container runs"
        container.open_gate()
        output, _ = starter.communicate(timeout=20)
        assert starter.returncode == 0, output
    assert manager.up() and container.lives() == 1
    end(manager, container)


def reboot_is_not_the_managers_business(manager, container):
    begin(manager, container)
    supervisor, lives = container.supervisor(), container.lives()
    container.order("reboot")
    wait_for("the second life", lambda: container.lives() == lives + 1)
    assert manager.up() and container.supervisor() == supervisor
    end(manager, container)


def stop_asks_the_container_to_halt(manager, container):
    begin(manager, container)
    halts = container.lines("ends")
    end(manager, container)
    assert container.lines("ends") == halts + 1, "it was killed instead"


def stays_down(manager, container, state):
    wait_for("the end of the service", state)
    lives = container.lives()
    container.assert_nothing_left()
    time.sleep(QUIET)
    assert state() and container.lives() == lives, "started again"


def halt_ends_the_service(manager, container):
    begin(manager, container)
    container.order("poweroff")
    stays_down(manager, container, manager.down)


def failing_init_ends_the_service(manager, container):
    begin(manager, container)
    container.order("exit 3")
    stays_down(manager, container, manager.failed)


def killed_supervisor_comes_back(manager, container):
    begin(manager, container)
    supervisor, lives = container.supervisor(), container.lives()
    os.kill(supervisor, signal.SIGKILL)
    if not manager.revives:
        stays_down_killed(manager, container)
        begin(manager, container)
    wait_for("a new life", lambda: container.lives() == lives + 1)
    wait_for("the service", manager.up)
    assert container.supervisor() not in (supervisor, None)
    end(manager, container)


def stays_down_killed(manager, container):
    """Nobody starts it again; what it left is found by the next start."""
    lives = container.lives()
    wait_for("the end of the service", manager.down)
    time.sleep(QUIET)
    assert manager.down() and container.lives() == lives, "started again"


WHY = r".*lxc\.tty\.max.*"


def broken_config_is_a_failure_with_one_line(manager, container):
    config = container.home / "config"
    text = config.read_text()
    config.write_text(text + "lxc.tty.max = many\n")
    lives = container.lives()
    code, output = manager.host.run(*manager.start)
    assert code != 0, "the start has succeeded"
    wait_for("the failure", manager.failed)
    time.sleep(QUIET)
    # In the manager's log, or on the caller's terminal.
    words = re.findall(WHY, manager.log()) or re.findall(WHY, output)
    assert len(words) == 1, f"not one line of why: {output}\n{manager.log()}"
    assert manager.failed() and container.lives() == lives and not container.supervisor()
    config.write_text(text)
    begin(manager, container)
    end(manager, container)


SCENARIOS = [
    up_only_when_the_container_runs,
    reboot_is_not_the_managers_business,
    stop_asks_the_container_to_halt,
    halt_ends_the_service,
    failing_init_ends_the_service,
    killed_supervisor_comes_back,
    broken_config_is_a_failure_with_one_line,
]


def hung_supervisor_is_replaced(manager, container):
    begin(manager, container)
    supervisor, lives = container.supervisor(), container.lives()
    os.kill(supervisor, signal.SIGSTOP)
    wait_for("a new life", lambda: container.lives() == lives + 1)
    wait_for("the service", manager.up)
    assert container.supervisor() not in (supervisor, None)
    end(manager, container)


# Where the manager has no commands: the container begins and ends with the machine.

def machine_starts_it_and_halts_it(manager, container):
    wait_for("the container", manager.up)
    wait_for("its init", lambda: container.lives() == 1)
    manager.power_off()
    assert container.lines("ends") == 1, "it was killed instead"


def machine_leaves_reboot_and_halt_to_it(manager, container):
    wait_for("the container", lambda: container.lives() == 1)
    supervisor = container.supervisor()
    container.order("reboot")
    wait_for("the second life", lambda: container.lives() == 2)
    assert container.supervisor() == supervisor
    container.order("poweroff")
    stays_down(manager, container, manager.down)


def machine_brings_a_killed_supervisor_back(manager, container):
    wait_for("the container", lambda: container.lives() == 1)
    supervisor = wait_for("the supervisor", container.supervisor)
    os.kill(supervisor, signal.SIGKILL)
    wait_for("a new life", lambda: container.lives() == 2)
    assert container.supervisor() not in (supervisor, None)
    manager.power_off()
    assert container.lines("ends") == 1, "it was killed instead"


def machine_shows_what_is_wrong_with_a_config(manager, container):
    stays_down(manager, container, manager.down)
    assert len(re.findall(WHY, manager.log())) == 1, manager.log()


def broken(container):
    with open(container.home / "config", "a") as config:
        config.write("lxc.tty.max = many\n")


machine_shows_what_is_wrong_with_a_config.before = broken

WITH_THE_MACHINE = [
    machine_starts_it_and_halts_it,
    machine_leaves_reboot_and_halt_to_it,
    machine_brings_a_killed_supervisor_back,
    machine_shows_what_is_wrong_with_a_config,
]
