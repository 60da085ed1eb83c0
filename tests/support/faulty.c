/* Faults of a machine that no file system in memory has: a sector that cannot be read, a clock that is wrong.
 *
 * Loaded into a process by LD_PRELOAD; what is wrong stands in the file that FAULTY names and may change at any
 * moment (`tests.support.chaos.Faults` writes it):
 *
 *     int64 seconds, by which the clock is wrong; uint64 how many files; device and inode of each
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct file { uint64_t device, inode; };

struct faults {
    int64_t seconds;
    uint64_t count;
    struct file files[254];
};

static volatile struct faults *faults;
static ssize_t (*true_read)(int, void *, size_t);
static ssize_t (*true_readv)(int, const struct iovec *, int);
static ssize_t (*true_preadv)(int, const struct iovec *, int, off_t);
static int (*true_clock)(clockid_t, struct timespec *);

static void __attribute__((constructor)) begin(void) {
    const char *path = getenv("FAULTY");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    true_read = dlsym(RTLD_NEXT, "read");
    true_readv = dlsym(RTLD_NEXT, "readv");
    true_preadv = dlsym(RTLD_NEXT, "preadv64");
    true_clock = dlsym(RTLD_NEXT, "clock_gettime");
    if (shared != MAP_FAILED) faults = shared;
}

static int is_bad(int descriptor) {
    struct stat found;
    if (!faults || !faults->count || fstat(descriptor, &found)) return 0;
    for (uint64_t i = 0; i < faults->count; i++)
        if (faults->files[i].inode == found.st_ino && faults->files[i].device == found.st_dev) return 1;
    return 0;
}

ssize_t read(int descriptor, void *bytes, size_t count) {
    if (!true_read) true_read = dlsym(RTLD_NEXT, "read");
    if (!is_bad(descriptor)) return true_read(descriptor, bytes, count);
    errno = EIO;
    return -1;
}

ssize_t readv(int descriptor, const struct iovec *pieces, int count) {
    if (!is_bad(descriptor)) return true_readv(descriptor, pieces, count);
    errno = EIO;
    return -1;
}

ssize_t preadv64(int descriptor, const struct iovec *pieces, int count, off_t place) {
    if (!is_bad(descriptor)) return true_preadv(descriptor, pieces, count, place);
    errno = EIO;
    return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!true_clock) true_clock = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = true_clock(clock, now);
    if (!failed && faults && clock == CLOCK_REALTIME) now->tv_sec += faults->seconds;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec moment;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &moment)) return -1;
    now->tv_sec = moment.tv_sec;
    now->tv_usec = moment.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told) {
    struct timespec moment;
    if (clock_gettime(CLOCK_REALTIME, &moment)) return -1;
    if (told) *told = moment.tv_sec;
    return moment.tv_sec;
}
