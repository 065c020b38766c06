"""The command `objfs`: its subcommands, and what an error looks like.

Exit status: 0 done, 1 it failed or found damage, 2 wrong usage. An error is one line on standard
error; with OBJFS_TRACEBACK=1 in the environment the Python traceback comes too.
"""

import logging
import os
import sys
import traceback
from importlib.metadata import version

import click
from click.shell_completion import get_completion_class

from objfs.base.errors import ObjfsError
from objfs.cli.background_commands import background
from objfs.cli.bucket_commands import bucket
from objfs.cli.checking_commands import fsck, scrub
from objfs.cli.compaction_commands import compact
from objfs.cli.difference_commands import diff
from objfs.cli.forget_commands import du, forget
from objfs.cli.identity_commands import group, key, user
from objfs.cli.mount_commands import mount, umount
from objfs.cli.output import print_error
from objfs.cli.policy_commands import issuer, policy
from objfs.cli.restore_commands import restore
from objfs.cli.retention_commands import retention
from objfs.cli.serve_commands import serve
from objfs.cli.snapshot_commands import snapshot
from objfs.cli.store_commands import bench, init, inspect, rebuild, status, sync
from objfs.cli.version_commands import cat, versions

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130  # as shells say it
COMPLETE_VARIABLE = "_OBJFS_COMPLETE"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("objfs"), message="objfs %(version)s")
def cli() -> None:
    """A drive that never forgets: every version of every file stays readable.

    STORE is a directory that `objfs init` made; STORE:BUCKET/PREFIX narrows it. PATH lies inside a
    mount, or is STORE:BUCKET/KEY.
    """


@cli.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: objfs completion bash > ~/.local/share/bash-completion/completions/objfs
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "objfs", COMPLETE_VARIABLE).source())


for command in (
    init,
    mount,
    umount,
    serve,
    status,
    sync,
    versions,
    cat,
    restore,
    diff,
    snapshot,
    bucket,
    user,
    key,
    group,
    policy,
    issuer,
    retention,
    scrub,
    background,
    fsck,
    compact,
    forget,
    du,
    rebuild,
    inspect,
    bench,
):
    cli.add_command(command)
cli.add_command(compact, "gc")


def main() -> None:
    """Where the console script begins."""
    # Names of files are bytes: what is no UTF-8 goes out as it came in.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape")
    # What a store opened by a command itself has to say; a mount logs into its file instead.
    logging.basicConfig(level=logging.WARNING, format="objfs: %(message)s")
    sys.exit(run_command_line(sys.argv[1:]))


def run_command_line(arguments: list[str]) -> int:
    """The exit status; what went wrong is on standard error."""
    try:
        status = cli.main(
            arguments, prog_name="objfs", standalone_mode=False, complete_var=COMPLETE_VARIABLE
        )
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.UsageError as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        print_error(error.format_message() + hint)
        return WRONG_USAGE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ObjfsError as error:
        _complain(str(error))
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
    except Exception as error:  # a bug; still one line
        _complain(f"unexpected: {error!r}; run it again with OBJFS_TRACEBACK=1 to see where")
    return FAILED


def _complain(message: str) -> None:
    print_error(message)
    if os.environ.get("OBJFS_TRACEBACK"):
        traceback.print_exc()
