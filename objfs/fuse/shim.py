"""Corrections to how pyfuse3 uses libfuse, in a few lines of C that stand between them.

- **FUSE_CAP_DONT_MASK** is never asked for by pyfuse3, so the kernel cuts modes by the umask before
  a directory's default ACL is looked at. The shim asks for it. It also declines
  FUSE_CAP_HANDLE_KILLPRIV, which libfuse turns on unasked: then the kernel clears setuid and setgid
  itself, knowing who writes, which a filesystem is not told.
- **max_background**: how many write-back requests the kernel hands over at a time; the others,
  small files' too, wait in its queue in order. So it is more than the dirty pages of a mount fill.
- **Small requests first.** Reading a request of 1 MiB takes a quarter of a millisecond, serving it
  as long again; a create, a write and a flush that queue behind a large file's pages three times
  are the wait that a user feels. So `fuse_session_receive_buf` reads on while there are large
  requests, keeps those, and gives out a small one first (but an old large one now and then). The
  kernel sends nothing that depends on the order: what must follow waits for an answer.
- **Large requests wait in pipes.** While large requests come, each request is spliced into a pipe:
  the kernel moves its pages there and copies none, so what waits behind large requests comes soon,
  and a large one is copied once, into the bytes that pyfuse3 hands on, instead of twice. A pipe may
  have 1 MiB unless its owner is privileged, so a write request has a page less than that. When
  splicing fails, whatever the reason, requests are read as before. Small requests alone are read:
  that is one system call instead of two. (libfuse can splice too, but has one pipe only, and does
  so for each request; it stays turned off.)
- **EAGAIN** from `fuse_session_receive_buf` (a request that was withdrawn because its client was
  killed) ends pyfuse3's worker. The shim says EINTR, after which pyfuse3 goes on.

The functions get between because the shim is loaded first, with its symbols visible to all. So
`load` has to come before the first `import pyfuse3`; `objfs/fuse/__init__.py` sees to it. The shim
is compiled when it is first needed, and kept under the hash of its source. Everything works without
it, if less well: `Shim.granted` says what the kernel agreed to.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from objfs.base.limits import (
    HEAP_BUFFER_BYTES_MAX,
    HEAP_KEPT_BYTES,
    KERNEL_BACKGROUND_MAX,
    LARGE_REQUEST_BYTES,
    REQUEST_PIPE_BYTES,
    REQUESTS_PASSED_OVER_MAX,
    REQUESTS_WAITING_MAX,
)

logger = logging.getLogger(__name__)

# `fuse_session_new_versioned` is what programs built against libfuse 3.17 and later call.
SOURCE = r"""
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <fuse_lowlevel.h>
#undef fuse_session_new

typedef struct fuse_session *new_3(struct fuse_args *, const struct fuse_lowlevel_ops *, size_t,
                                   void *);
typedef struct fuse_session *new_317(struct fuse_args *, const struct fuse_lowlevel_ops *, size_t,
                                     void *version, void *);
typedef int receive(struct fuse_session *, struct fuse_buf *);

int objfs_shim_granted = 0; /* 1: DONT_MASK, 2: the kernel clears setuid and setgid */
static struct fuse_lowlevel_ops shimmed;
static void (*next_init)(void *, struct fuse_conn_info *);
static int may_splice;

static void init(void *userdata, struct fuse_conn_info *connection) {
    objfs_shim_granted = 2;
    connection->want &= ~(FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_SPLICE_READ);
    if (connection->capable & FUSE_CAP_DONT_MASK) {
        connection->want |= FUSE_CAP_DONT_MASK;
        objfs_shim_granted |= 1;
    }
    if (next_init)
        next_init(userdata, connection);
    connection->max_background = @BACKGROUND@;
    connection->congestion_threshold = @BACKGROUND@;
    long page = sysconf(_SC_PAGESIZE); /* the header has one, each page of data one */
    if (connection->max_write > @PIPE@ - page)
        connection->max_write = @PIPE@ - page;
    may_splice = 1;
}

static const struct fuse_lowlevel_ops *shim(const struct fuse_lowlevel_ops *operations,
                                            size_t size) {
    memset(&shimmed, 0, sizeof shimmed);
    memcpy(&shimmed, operations, size < sizeof shimmed ? size : sizeof shimmed);
    next_init = shimmed.init;
    shimmed.init = init;
    return &shimmed;
}

struct fuse_session *fuse_session_new(struct fuse_args *arguments,
                                      const struct fuse_lowlevel_ops *operations, size_t size,
                                      void *userdata) {
    new_3 *next = (new_3 *)dlsym(RTLD_NEXT, "fuse_session_new");
    return next ? next(arguments, shim(operations, size), sizeof shimmed, userdata) : NULL;
}

struct fuse_session *fuse_session_new_versioned(struct fuse_args *arguments,
                                                const struct fuse_lowlevel_ops *operations,
                                                size_t size, void *version, void *userdata) {
    new_317 *next = (new_317 *)dlsym(RTLD_NEXT, "fuse_session_new_versioned");
    return next ? next(arguments, shim(operations, size), sizeof shimmed, version, userdata) : NULL;
}

/* Write requests bring 1 MiB each: without this, the heap shrinks and grows with every one. */
__attribute__((constructor)) static void keep_heap(void) {
    mallopt(M_MMAP_THRESHOLD, @LARGEST@);
    mallopt(M_TRIM_THRESHOLD, @KEPT@);
}

/* Requests that were read and not given out yet. Large ones wait here, oldest first. */
int objfs_shim_waiting = 0;
static struct fuse_buf waiting[@WAITING@];
static int first, passed_over;

/* A waiting one that was spliced has FUSE_BUF_IS_FD: `fd` is the pipe's end to read from, `pos` the
   other. `given` is the pipe of the request that was given out last: it is empty by the next call.
   `splice_next`: how many small requests more are spliced before they are read again. */
struct both_ends { int out, in; };
static struct both_ends idle[@WAITING@ + 1], given = {-1, -1};
static int idle_count, pipe_count, splice_next;

static struct both_ends take_pipe(void) {
    struct both_ends made = {-1, -1};
    if (idle_count)
        return idle[--idle_count];
    if (pipe_count > @WAITING@ || pipe2((int *)&made, O_CLOEXEC | O_NONBLOCK))
        return (struct both_ends){-1, -1};
    if (fcntl(made.in, F_SETPIPE_SZ, @PIPE@) < @PIPE@) {
        close(made.out);
        close(made.in);
        return (struct both_ends){-1, -1};
    }
    pipe_count++;
    return made;
}

static void put_pipe(struct both_ends ends) {
    int left = 1;
    if (ioctl(ends.out, FIONREAD, &left) == 0 && left == 0) {
        idle[idle_count++] = ends;
        return;
    }
    close(ends.out); /* a request that nobody could read to its end */
    close(ends.in);
    pipe_count--;
}

static int give_oldest(struct fuse_buf *buffer) {
    struct fuse_buf mine = *buffer;
    *buffer = waiting[first];
    waiting[first] = mine; /* its memory is for the next request */
    if (buffer->flags & FUSE_BUF_IS_FD) {
        given.out = buffer->fd;
        given.in = (int)buffer->pos;
        buffer->pos = 0;
        waiting[first].mem = buffer->mem;
        buffer->mem = mine.mem;
    }
    first = (first + 1) % @WAITING@;
    objfs_shim_waiting--;
    passed_over = 0;
    return (int)buffer->size;
}

static void keep(struct fuse_buf *buffer) {
    int last = (first + objfs_shim_waiting++) % @WAITING@;
    struct fuse_buf spare = waiting[last];
    waiting[last] = *buffer;
    *buffer = spare;
}

static void keep_pipe(struct both_ends ends, size_t size) {
    struct fuse_buf *last = &waiting[(first + objfs_shim_waiting++) % @WAITING@];
    last->flags = FUSE_BUF_IS_FD;
    last->fd = ends.out;
    last->pos = ends.in;
    last->size = size;
}

/* Splice a request, of whatever size. 1: a large one, which waits now; 0: splicing does not work;
   else like fuse_session_receive_buf. */
static int receive_spliced(struct fuse_session *session, struct fuse_buf *buffer) {
    struct both_ends ends = take_pipe();
    ssize_t size;
    int failure;
    if (ends.in < 0) {
        may_splice = 0;
        return 0;
    }
    size = splice(fuse_session_fd(session), NULL, ends.in, NULL, @PIPE@, 0);
    if (size >= @LARGE@) {
        keep_pipe(ends, size);
        return 1;
    }
    if (size > 0 && read(ends.out, buffer->mem, size) == size) {
        buffer->size = size;
        idle[idle_count++] = ends;
        return (int)size;
    }
    failure = errno;
    put_pipe(ends);
    if (size < 0 && (failure == EAGAIN || failure == EINTR || failure == ENOENT))
        return failure == EAGAIN ? -EAGAIN : -EINTR;
    may_splice = 0; /* the connection's end, too, is said by a read */
    return 0;
}

/* Splice or read a request. 1: it waits; else like fuse_session_receive_buf. */
static int receive_any(struct fuse_session *session, struct fuse_buf *buffer, receive *next) {
    int result = 0;
    if (may_splice && splice_next > 0) {
        if (!buffer->mem) /* libfuse may read into it later: @PIPE@ bytes at a time */
            buffer->mem = malloc(@PIPE@ + @LARGE@);
        if (buffer->mem)
            result = receive_spliced(session, buffer);
    }
    if (result == 0)
        result = next(session, buffer);
    if (result > 1 && result < @LARGE@) {
        splice_next -= splice_next > 0;
        return result;
    }
    if (result > 1)
        keep(buffer);
    if (result > 0) {
        splice_next = @PASSED@;
        return 1;
    }
    return result;
}

int fuse_session_receive_buf(struct fuse_session *session, struct fuse_buf *buffer) {
    static receive *next;
    static int never_blocks;
    if (!next)
        next = (receive *)dlsym(RTLD_NEXT, "fuse_session_receive_buf");
    if (!never_blocks)
        never_blocks = !!(fcntl(fuse_session_fd(session), F_GETFL) & O_NONBLOCK);
    if (given.out >= 0)
        put_pipe(given);
    given.out = -1;
    buffer->flags = 0;
    while (objfs_shim_waiting < @WAITING@ && passed_over < @PASSED@) {
        int result = never_blocks ? receive_any(session, buffer, next) : next(session, buffer);
        if (result == 1)
            continue;
        if (result > 0) {
            passed_over += objfs_shim_waiting > 0;
            return result;
        }
        if (result != -EAGAIN && result != -EINTR)
            return result;
        if (!objfs_shim_waiting)
            return -EINTR;
        break;
    }
    return give_oldest(buffer);
}
"""

SOURCE = SOURCE.replace("@BACKGROUND@", str(KERNEL_BACKGROUND_MAX))
SOURCE = SOURCE.replace("@LARGEST@", str(HEAP_BUFFER_BYTES_MAX))
SOURCE = SOURCE.replace("@KEPT@", str(HEAP_KEPT_BYTES))
SOURCE = SOURCE.replace("@PIPE@", str(REQUEST_PIPE_BYTES))
SOURCE = SOURCE.replace("@WAITING@", str(REQUESTS_WAITING_MAX))
SOURCE = SOURCE.replace("@PASSED@", str(REQUESTS_PASSED_OVER_MAX))
SOURCE = SOURCE.replace("@LARGE@", str(LARGE_REQUEST_BYTES))

DONT_MASK = 1
KERNEL_KILLS = 2


class Shim:
    """The loaded shim, or that there is none."""

    def __init__(self, library: ctypes.CDLL | None) -> None:
        self._granted = self._waiting = ctypes.c_int(0)
        if library is not None:
            self._granted = ctypes.c_int.in_dll(library, "objfs_shim_granted")
            self._waiting = ctypes.c_int.in_dll(library, "objfs_shim_waiting")

    @property
    def granted(self) -> int:
        """DONT_MASK and KERNEL_KILLS, as far as the kernel agreed to; 0 before a mount, and for
        ever when the shim did not get between."""
        return self._granted.value

    def waiting(self) -> int:
        """How many requests were read from the device and are still to be served."""
        return self._waiting.value


def load() -> Shim:
    """Load the shim, compiled if need be. Without a compiler or libfuse's headers there is none."""
    if "pyfuse3" in sys.modules:
        logger.info("pyfuse3 was loaded first, so the shim is left out")
        return Shim(None)
    for directory in _directories():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            path = compiled(directory)
            return Shim(ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL))
    logger.info("no shim could be compiled: default ACLs meet modes that the umask has cut already")
    return Shim(None)


def _directories() -> list[Path]:
    """Where the compiled shim may lie: in the virtual environment, else in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [Path(cache) / "objfs"]
    if sys.prefix != sys.base_prefix:
        places.insert(0, Path(sys.prefix) / "lib" / "objfs")
    return places


def compiled(directory: Path) -> Path:
    """The shim in `directory`, compiled if it is not there. OSError, CalledProcessError."""
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()[:16]
    path = directory / f"shim-{digest}.so"
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            built = Path(scratch) / path.name
            _compile(built)
            built.replace(path)  # whole or not at all: two processes may do this at a time
    return path


def _compile(target: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True
    ).stdout.split()
    # The shim refers to libfuse by name only: without the flag the linker would leave it out.
    command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
    subprocess.run(
        [*command, "-Wl,--no-as-needed", *flags, "-ldl"],
        check=True,
        capture_output=True,
        input=SOURCE.encode(),
    )
