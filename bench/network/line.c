/* A line between two network namespaces: so much delay, so many bits a second, so many packets lost.
 *
 *     line NAMESPACE NAMESPACE DEVICE DELAY_MS MBIT LOSS_PERCENT QUEUE_MS
 *
 * Makes a TUN device of that name in each namespace and carries packets from one to the other, each direction
 * by a thread of its own. Says "ready" when both are there; ends when its standard input is closed.
 *
 * A packet leaves the sender when the packets before it have left, at the rate of the line; it is lost by
 * chance, or when it would wait longer than the queue is; it arrives after the delay.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 1600, SLOTS = 1 << 14, BURST = 64 };

struct packet {
    int64_t arrives;
    uint32_t length;
    unsigned char bytes[LONGEST];
};

struct direction {
    int from, to;
    int64_t delay, queue;    /* nanoseconds */
    double byte_time;        /* nanoseconds a byte takes to leave */
    double loss;             /* probability */
    uint64_t chance;         /* state of the generator */
    int64_t free_at;         /* when the line has sent what it was given */
    uint32_t first, next;    /* packets under way: slots[first .. next) */
    struct packet *slots;
};

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A number from 0 up to 1 (xorshift64*); the same every time the line is made. */
static double draw(struct direction *d) {
    d->chance ^= d->chance >> 12;
    d->chance ^= d->chance << 25;
    d->chance ^= d->chance >> 27;
    return (double)((d->chance * 2685821657736338717ULL) >> 11) / (double)(1ULL << 53);
}

static int device(const char *name_space, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/run/netns/%s", name_space);
    int within = open(path, O_RDONLY | O_CLOEXEC);
    if (within < 0 || setns(within, CLONE_NEWNET)) err(1, "%s", path);
    close(within);
    int made = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (made < 0 || ioctl(made, TUNSETIFF, &request)) err(1, "/dev/net/tun in %s", name_space);
    return made;
}

/* Hand over the packets that have arrived; how long until the next one does, -1 if none is under way. */
static int64_t deliver(struct direction *d) {
    while (d->first != d->next) {
        struct packet *p = &d->slots[d->first % SLOTS];
        int64_t left = p->arrives - now();
        if (left > 0) return left;
        if (write(d->to, p->bytes, p->length) < 0) { /* the receiving device is down or full: lost */ }
        d->first++;
    }
    return -1;
}

/* Take packets from the sender; how many there were. */
static int take(struct direction *d) {
    for (int taken = 0; taken < BURST; taken++) {
        struct packet *p = &d->slots[d->next % SLOTS];
        ssize_t length = read(d->from, p->bytes, LONGEST);
        if (length <= 0) return taken;
        int64_t t = now(), starts = d->free_at > t ? d->free_at : t;
        if (draw(d) < d->loss || starts - t > d->queue || d->next - d->first == SLOTS - 1) continue;
        d->free_at = starts + (int64_t)(length * d->byte_time);
        p->arrives = d->free_at + d->delay;
        p->length = length;
        d->next++;
    }
    return BURST;
}

static void *carry(void *given) {
    struct direction *d = given;
    prctl(PR_SET_TIMERSLACK, 1000UL);
    for (;;) {
        int64_t left = deliver(d);
        if (take(d)) continue;
        struct pollfd sender = {.fd = d->from, .events = POLLIN};
        struct timespec wait = {left / 1000000000, left % 1000000000};
        ppoll(&sender, 1, left < 0 ? NULL : &wait, NULL);
    }
    return NULL;
}

int main(int count, char **words) {
    if (count != 8) errx(2, "line NAMESPACE NAMESPACE DEVICE DELAY_MS MBIT LOSS_PERCENT QUEUE_MS");
    int one = device(words[1], words[3]), other = device(words[2], words[3]);
    struct direction ways[2] = {{.from = one, .to = other}, {.from = other, .to = one}};
    for (int i = 0; i < 2; i++) {
        struct direction *d = &ways[i];
        d->delay = atof(words[4]) * 1e6;
        d->byte_time = 8000.0 / atof(words[5]);
        d->loss = atof(words[6]) / 100;
        d->queue = atof(words[7]) * 1e6;
        d->chance = 88172645463325252ULL + i;
        d->slots = mmap(NULL, sizeof(struct packet) * SLOTS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (d->slots == MAP_FAILED) err(1, "no memory");
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, carry, &ways[i])) errx(1, "no thread");
    puts("ready");
    fflush(stdout);
    for (char byte; read(0, &byte, 1) > 0;) {}
    return 0;
}
