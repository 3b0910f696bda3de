/* What the kernel does to an unmodified program, made to happen at a chosen moment.
 *
 * Loaded with LD_PRELOAD. Every change to a file below FAULTS_ROOT (write, sync, truncate,
 * create, rename, link, unlink, mkdir, rmdir) of every process of the tree is one event, counted
 * in a page that all of them share (FAULTS_CONTROL, the struct below; see shim.py). Events
 * number `from` to `to` - 1 meet the chosen fate: a signal to the victim, an error, or half a
 * write. With FAULTS_TRACE each event is also written down with its data, in the order in which
 * they took effect, so that a power cut can be played through (power.py).
 * Lock files, and with a trace SQLite's -shm file (memory, not disk), are no events.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, CREATE = 8, RENAME = 16, UNLINK = 32, LINK = 64, MKDIR = 128, RMDIR = 256 };
enum { NOTHING = 0, SIGNAL = 1, ERROR = 2, SHORT = 3 };

struct control {
    _Atomic uint64_t count; /* events so far */
    uint64_t from, to;      /* the events that meet the fate */
    int32_t fate, value;    /* what, and which signal or errno */
    int32_t victim;         /* process to signal; -1: the one that has the event; 0: wait for it */
    uint32_t kinds;         /* which operations are events */
    _Atomic int32_t struck; /* events that met the fate */
    int64_t wall_ms;        /* added to the wall clock */
    _Atomic int32_t lock;
    char only[128];         /* if set, only paths that hold this text */
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;
static int trace = -1;

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *page = getenv("FAULTS_CONTROL"), *where = getenv("FAULTS_ROOT");
    const char *log = getenv("FAULTS_TRACE");
    if (!page || !where) return;
    snprintf(root, sizeof root, "%s/", where);
    root_length = strlen(root);
    int fd = syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at == MAP_FAILED) return;
    if (log) {
        fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        trace = fcntl(fd, F_DUPFD_CLOEXEC, 700); /* out of the way of numbers that programs expect */
        syscall(SYS_close, fd);
    }
    control = at;
}

static int ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

static int watched(const char *path) {
    if (!control || !path || strncmp(path, root, root_length - 1)) return 0;
    if (path[root_length - 1] != '/' && path[root_length - 1]) return 0; /* the root itself is in */
    if (ends_with(path, ".lock") || (trace >= 0 && ends_with(path, "-shm"))) return 0;
    return !control->only[0] || strstr(path, control->only) != NULL;
}

/* The absolute path of (directory, path); NULL when it is not watched. */
static const char *place(int directory, const char *path, char *buffer) {
    if (!control || !path) return NULL;
    if (path[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n <= 0) return NULL;
        base[n] = 0;
        if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    }
    return watched(buffer) ? buffer : NULL;
}

static const char *place_of(int fd, char *buffer) {
    if (!control || fd < 3) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buffer, PATH_MAX - 1);
    if (n <= 0) return NULL;
    buffer[n] = 0;
    if (ends_with(buffer, " (deleted)")) buffer[n - 10] = 0;
    return watched(buffer) ? buffer : NULL;
}

/* Count one event. Returns NOTHING, or what becomes of it: ERROR (errno is set) or SHORT. */
static int event(int kind) {
    if (!(control->kinds & kind)) return NOTHING;
    uint64_t number = atomic_fetch_add(&control->count, 1) + 1;
    if (control->fate == NOTHING || number < control->from || number >= control->to) return NOTHING;
    atomic_fetch_add(&control->struck, 1);
    if (control->fate == SIGNAL) {
        for (int n = 0; control->victim == 0 && n < 5000; n++) usleep(1000);
        kill(control->victim == -1 ? getpid() : control->victim, control->value);
        if (control->value == SIGSTOP || control->value == SIGKILL) usleep(2000);
        return NOTHING;
    }
    errno = control->value;
    if (control->fate == SHORT && kind == WRITE) return SHORT;
    return ERROR;
}

struct record { uint32_t magic, kind, path, other, data, mode; uint64_t inode, offset; };

static void enter(void) {
    if (trace < 0) return;
    int32_t free = 0;
    while (!atomic_compare_exchange_weak(&control->lock, &free, 1)) { free = 0; sched_yield(); }
}

static void leave(void) { if (trace >= 0) atomic_store(&control->lock, 0); }

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static void note(int kind, uint64_t inode, uint64_t offset, const char *path, const char *other, const void *data, size_t length, uint32_t mode) {
    if (trace < 0) return;
    int kept = errno;
    struct record r = {0x47535652, kind, strlen(path), other ? strlen(other) : 0, length, mode, inode, offset};
    struct iovec parts[4] = {{&r, sizeof r}, {(void *)path, r.path}, {(void *)other, r.other}, {(void *)data, length}};
    if (syscall(SYS_writev, trace, parts, 4) < 0) abort();
    errno = kept;
}

/* --- bytes ---------------------------------------------------------------------------------- */

static ssize_t put(int fd, const void *data, size_t length, off_t offset, const char *path) {
    int fate = event(WRITE);
    if (fate == ERROR) return -1;
    if (fate == SHORT) {
        if (length < 2) return -1;
        length /= 2;
    }
    enter();
    uint64_t at = offset;
    if (offset < 0 && trace >= 0) {
        struct stat now;
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        at = append && !fstat(fd, &now) ? (uint64_t)now.st_size : (uint64_t)lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = offset < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
    if (done > 0) note(WRITE, inode_of(fd), at, path, NULL, data, done, 0);
    leave();
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    char buffer[PATH_MAX];
    const char *path = place_of(fd, buffer);
    return path ? put(fd, data, length, -1, path) : syscall(SYS_write, fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    char buffer[PATH_MAX];
    const char *path = place_of(fd, buffer);
    return path ? put(fd, data, length, offset, path) : syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

static int cut(int fd, off_t size, const char *path) {
    if (event(TRUNCATE) != NOTHING) return -1;
    enter();
    int answer = syscall(SYS_ftruncate, fd, size);
    if (!answer) note(TRUNCATE, inode_of(fd), size, path, NULL, NULL, 0, 0);
    leave();
    return answer;
}

int ftruncate64(int fd, off64_t size) {
    char buffer[PATH_MAX];
    const char *path = place_of(fd, buffer);
    return path ? cut(fd, size, path) : syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int settle(int fd, long number) {
    char buffer[PATH_MAX];
    const char *path = place_of(fd, buffer);
    if (!path) return syscall(number, fd);
    if (event(SYNC) != NOTHING) return -1;
    enter();
    int answer = syscall(number, fd);
    struct stat what = {0};
    if (!answer && !fstat(fd, &what)) note(SYNC, what.st_ino, 0, path, NULL, NULL, 0, what.st_mode);
    leave();
    return answer;
}

int fsync(int fd) { return settle(fd, SYS_fsync); }
int fdatasync(int fd) { return settle(fd, SYS_fdatasync); }

/* --- names ---------------------------------------------------------------------------------- */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *where = flags & (O_CREAT | O_TRUNC) ? place(directory, path, buffer) : NULL;
    if (!where) return syscall(SYS_openat, directory, path, flags, mode);
    uint64_t before = inode_at(where);
    if (!before && event(CREATE) != NOTHING) return -1;
    enter();
    int fd = syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && !before) note(CREATE, inode_of(fd), 0, where, NULL, NULL, 0, mode);
    else if (fd >= 0 && flags & O_TRUNC) note(TRUNCATE, inode_of(fd), 0, where, NULL, NULL, 0, 0);
    leave();
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int directory, const char *path, int flags, ...) { MODE(flags) return opened(directory, path, flags, mode); }
int openat64(int directory, const char *path, int flags, ...) { MODE(flags) return opened(directory, path, flags, mode); }

static int moved(int from_dir, const char *from, int to_dir, const char *to, int kind) {
    char a[PATH_MAX], b[PATH_MAX];
    const char *source = place(from_dir, from, a), *target = place(to_dir, to, b);
    if (!target) return kind == RENAME ? syscall(SYS_renameat, from_dir, from, to_dir, to) : syscall(SYS_linkat, from_dir, from, to_dir, to, 0);
    if (event(kind) != NOTHING) return -1;
    enter();
    int answer = kind == RENAME ? syscall(SYS_renameat, from_dir, from, to_dir, to) : syscall(SYS_linkat, from_dir, from, to_dir, to, 0);
    if (!answer) note(kind, inode_at(target), 0, source ? source : from, target, NULL, 0, 0);
    leave();
    return answer;
}

int rename(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, RENAME); }
int renameat(int a, const char *from, int b, const char *to) { return moved(a, from, b, to, RENAME); }
int link(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, LINK); }
int linkat(int a, const char *from, int b, const char *to, int flags) { (void)flags; return moved(a, from, b, to, LINK); }

static int removed(int directory, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *where = place(directory, path, buffer);
    int kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    if (!where) return syscall(SYS_unlinkat, directory, path, flags);
    if (event(kind) != NOTHING) return -1;
    enter();
    uint64_t inode = inode_at(where);
    int answer = syscall(SYS_unlinkat, directory, path, flags);
    if (!answer) note(kind, inode, 0, where, NULL, NULL, 0, 0);
    leave();
    return answer;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int directory, const char *path, int flags) { return removed(directory, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int directory, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *where = place(directory, path, buffer);
    if (!where) return syscall(SYS_mkdirat, directory, path, mode);
    uint64_t before = inode_at(where);
    if (!before && event(MKDIR) != NOTHING) return -1;
    enter();
    int answer = syscall(SYS_mkdirat, directory, path, mode);
    if (!answer) note(MKDIR, inode_at(where), 0, where, NULL, NULL, 0, mode);
    leave();
    return answer;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) { return made(directory, path, mode); }

/* A full disk says so, too. */
int statvfs64(const char *path, struct statvfs64 *found) {
    REAL(statvfs64);
    int answer = real(path, found), in_root = control && !strncmp(path, root, root_length - 1);
    if (!answer && in_root && control->fate >= ERROR && control->value == ENOSPC && control->struck) found->f_bavail = found->f_bfree = 0;
    return answer;
}

int statvfs(const char *path, struct statvfs *found) {
    return statvfs64(path, (struct statvfs64 *)found); /* the same layout where long has 64 bits */
}

/* --- the wall clock ------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int answer = real(clock, now);
    if (answer || clock != CLOCK_REALTIME || !control || !control->wall_ms) return answer;
    int64_t total = now->tv_nsec + (control->wall_ms % 1000) * 1000000;
    now->tv_sec += control->wall_ms / 1000 + (total < 0 ? -1 : total / 1000000000);
    now->tv_nsec = total < 0 ? total + 1000000000 : total % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
