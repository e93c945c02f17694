/* Preloaded into a service and its worker: counts the calls that one process makes on some files, and fails one of them
 * once. What to fail is read at each call from a file that the test and the process have mapped (failing_calls.py).
 *
 * Not strace: it counts for each thread, not for the process, and may not be attached to what runs already everywhere.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* In the order of CALLS in failing_calls.py. */
enum call { OPEN, READ, WRITE, SYNC, TRUNCATE, UNLINK, RENAME, LOCK, MAP, STAT, CALLS };

static struct orders {
    int32_t process;
    int32_t call;
    int32_t nth;        /* counted from 1; 0 only counts */
    int32_t error;
    int32_t is_done;    /* the call is made all the same, and then said to have failed */
    _Atomic int32_t fired;
    _Atomic int32_t seen[CALLS];
    char part_of_path[128];
} *orders;

__attribute__((constructor)) static void map_orders(void)
{
    int fd = open(getenv("FAILING_CALLS"), O_RDWR | O_CLOEXEC);
    void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (found != MAP_FAILED)
        orders = found;
}

/* Return whether this call is the one to fail. */
static int is_due(enum call call, const char *path)
{
    if (!orders || orders->process != getpid() || !orders->part_of_path[0] || !strstr(path, orders->part_of_path))
        return 0;
    int seen = ++orders->seen[call];
    if (orders->call != (int)call || orders->nth != seen)
        return 0;
    orders->fired = 1;
    return 1;
}

static int is_due_for(enum call call, int fd)
{
    char link[32], path[PATH_MAX];
    int before = errno;
    if (!orders || orders->process != getpid())
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_due(call, path);
}

/* Return from the calling function: what the real one returns, or the failure. */
#define MAKE(due, failure, made)        \
    do {                                \
        if (!(due))                     \
            return made;                \
        if (orders->is_done)            \
            (void)!(long)(made);        \
        errno = orders->error;          \
        return failure;                 \
    } while (0)

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that is about an open file, or about a path, with its real namesake. */
#define ON_FILE(kind, type, name, arguments, fd, ...) \
    type name arguments                               \
    {                                                 \
        static __typeof__(&name) real;                \
        if (!real)                                    \
            real = REAL(name);                        \
        MAKE(is_due_for(kind, fd), -1, real(__VA_ARGS__)); \
    }
#define ON_PATH(kind, type, name, arguments, path, ...) \
    type name arguments                                 \
    {                                                   \
        static __typeof__(&name) real;                  \
        if (!real)                                      \
            real = REAL(name);                          \
        MAKE(is_due(kind, path), -1, real(__VA_ARGS__)); \
    }

ON_FILE(READ, ssize_t, read, (int fd, void *to, size_t size), fd, fd, to, size)
ON_FILE(READ, ssize_t, pread, (int fd, void *to, size_t size, off_t at), fd, fd, to, size, at)
ON_FILE(READ, ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), fd, fd, to, size, at)
ON_FILE(WRITE, ssize_t, write, (int fd, const void *from, size_t size), fd, fd, from, size)
ON_FILE(WRITE, ssize_t, writev, (int fd, const struct iovec *from, int count), fd, fd, from, count)
ON_FILE(WRITE, ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), fd, fd, from, size, at)
ON_FILE(WRITE, ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), fd, fd, from, size, at)
ON_FILE(SYNC, int, fsync, (int fd), fd, fd)
ON_FILE(SYNC, int, fdatasync, (int fd), fd, fd)
ON_FILE(TRUNCATE, int, ftruncate, (int fd, off_t size), fd, fd, size)
ON_FILE(TRUNCATE, int, ftruncate64, (int fd, off64_t size), fd, fd, size)
ON_FILE(LOCK, int, flock, (int fd, int how), fd, fd, how)
ON_FILE(STAT, int, fstat, (int fd, struct stat *to), fd, fd, to)
ON_FILE(STAT, int, fstat64, (int fd, struct stat64 *to), fd, fd, to)
ON_PATH(STAT, int, stat, (const char *path, struct stat *to), path, path, to)
ON_PATH(STAT, int, stat64, (const char *path, struct stat64 *to), path, path, to)
ON_PATH(STAT, int, lstat, (const char *path, struct stat *to), path, path, to)
ON_PATH(STAT, int, lstat64, (const char *path, struct stat64 *to), path, path, to)
ON_PATH(UNLINK, int, unlink, (const char *path), path, path)
ON_PATH(RENAME, int, rename, (const char *from, const char *to), to, from, to)

#define OPENING(name)                                             \
    int name(const char *path, int flags, ...)                    \
    {                                                             \
        static __typeof__(&name) real;                            \
        va_list more;                                             \
        va_start(more, flags);                                    \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                             \
        if (!real)                                                \
            real = REAL(name);                                    \
        if (!is_due(OPEN, path))                                  \
            return real(path, flags, mode);                       \
        /* What was opened could never be closed. */              \
        errno = orders->error;                                    \
        return -1;                                                \
    }
OPENING(open)
OPENING(open64)

#define LOCKING(name)                                             \
    int name(int fd, int command, ...)                            \
    {                                                             \
        static __typeof__(&name) real;                            \
        va_list more;                                             \
        va_start(more, command);                                  \
        void *argument = va_arg(more, void *);                    \
        va_end(more);                                             \
        if (!real)                                                \
            real = REAL(name);                                    \
        int is_lock = command == F_SETLK || command == F_SETLKW || command == F_GETLK || command == F_OFD_SETLK \
            || command == F_OFD_SETLKW || command == F_OFD_GETLK; \
        /* Half-done, a lock would be nobody's for ever. */       \
        if (!is_lock || !is_due_for(LOCK, fd))                    \
            return real(fd, command, argument);                   \
        errno = orders->error;                                    \
        return -1;                                                \
    }
LOCKING(fcntl)
LOCKING(fcntl64)

#define MAPPING(name, offset)                                     \
    void *name(void *at, size_t size, int how, int flags, int fd, offset from) \
    {                                                             \
        static __typeof__(&name) real;                            \
        if (!real)                                                \
            real = REAL(name);                                    \
        if (fd < 0 || !is_due_for(MAP, fd))                       \
            return real(at, size, how, flags, fd, from);          \
        errno = orders->error;                                    \
        return MAP_FAILED;                                        \
    }
MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)
