/* Tries without pause to read files with denied names that somebody outside makes and takes away again, in every way that a
   process has. Prints how often each way gave the secret away. Ends when `stop` appears, or at the first success with
   `first`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES 6
static const char *names[NAMES] = { ".env.0", ".env.1", "secrets/late", "sub/.env.2", "config/late.key", "moved/.env" };
static volatile int over;
static int only_first;
static char flipping[64];

static int secret(int fd)
{
    char text[64] = "";
    if (fd < 0) return 0;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    return got > 6 && strstr(text, "CANARY") != 0;
}

static int by_open(const char *name, int turn) { (void)turn; return secret(open(name, O_RDONLY)); }
static int by_write(const char *name, int turn) { (void)turn; return secret(open(name, O_RDWR)); }
static int by_openat2(const char *name, int turn)
{
    struct open_how how = { .flags = O_RDONLY, .resolve = turn % 2 ? RESOLVE_BENEATH : 0 };
    return secret((int)syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof how));
}
static int by_proc(const char *name, int turn)
{
    char path[128];
    (void)turn;
    snprintf(path, sizeof path, "/proc/self/cwd/%s", name);
    return secret(open(path, O_RDONLY));
}
static int by_place(const char *name, int turn)
{
    char path[64];
    int place = open(name, O_PATH), fd;
    if (place < 0) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", place);
    chmod(path, 0755);
    fd = open(path, O_RDONLY);
    if (turn % 2) { linkat(place, "", AT_FDCWD, "stolen-place", AT_EMPTY_PATH); if (fd < 0) fd = open("stolen-place", O_RDONLY); unlink("stolen-place"); }
    close(place);
    return secret(fd);
}
static int by_rename(const char *name, int turn)
{
    char to[64];
    snprintf(to, sizeof to, "stolen-%d", turn % 4);
    int done = turn % 3 ? rename(name, to) : (int)syscall(SYS_renameat2, AT_FDCWD, name, AT_FDCWD, "README.md", RENAME_EXCHANGE);
    if (done) return 0;
    int stolen = secret(open(turn % 3 ? to : "README.md", O_RDONLY));
    if (turn % 3) unlink(to);
    else syscall(SYS_renameat2, AT_FDCWD, name, AT_FDCWD, "README.md", RENAME_EXCHANGE);
    return stolen;
}
static int by_link(const char *name, int turn)
{
    char to[64];
    snprintf(to, sizeof to, "stolen-link-%d", turn % 4);
    if (linkat(AT_FDCWD, name, AT_FDCWD, to, turn % 2 ? AT_SYMLINK_FOLLOW : 0)) return 0;
    int stolen = secret(open(to, O_RDONLY));
    unlink(to);
    return stolen;
}
static int by_symlink(const char *name, int turn)
{
    char to[64];
    snprintf(to, sizeof to, "stolen-symlink-%d", turn % 4);
    if (symlink(name, to)) return 0;
    int stolen = secret(open(to, O_RDONLY));
    unlink(to);
    return stolen;
}
/* What stands above the secret gets another name. */
static int by_directory(const char *name, int turn)
{
    char from[64], to[64], file[160];
    const char *slash = strchr(name, '/');
    if (!slash) return 0;
    snprintf(from, sizeof from, "%.*s", (int)(slash - name), name);
    snprintf(to, sizeof to, "stolen-directory-%d", turn % 4);
    if (rename(from, to)) return 0;
    snprintf(file, sizeof file, "%s%s", to, slash);
    int stolen = secret(open(file, O_RDONLY));
    rename(to, from);
    return stolen;
}
/* Its other name, which somebody outside gave it, once its denied one is gone. */
static int by_other_name(const char *name, int turn)
{
    if (turn % 2) unlink(name);
    else rename("data/plain", name);
    return secret(open("data/other", O_RDONLY));
}
static int by_flip(const char *name, int turn) { (void)name; (void)turn; return secret(open(flipping, O_RDONLY)); }
static int by_exec(const char *name, int turn)
{
    int ends[2], stolen;
    char *run[] = { (char *)name, 0 };
    (void)turn;
    if (pipe2(ends, O_CLOEXEC)) return 0;
    pid_t child = vfork();
    if (child == 0) { dup2(ends[1], 1); dup2(ends[1], 2); execv(name, run); _exit(1); }
    close(ends[1]);
    char text[256] = "";
    ssize_t got = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    waitpid(child, 0, 0);
    stolen = got > 0 && strstr(text, "CANARY") != 0;
    return stolen;
}

struct way { const char *name; int (*try)(const char *, int); long stolen, tried; };
static struct way ways[] = {
    { "open", by_open, 0, 0 }, { "write", by_write, 0, 0 }, { "openat2", by_openat2, 0, 0 }, { "proc", by_proc, 0, 0 },
    { "place", by_place, 0, 0 }, { "rename", by_rename, 0, 0 }, { "link", by_link, 0, 0 }, { "symlink", by_symlink, 0, 0 },
    { "directory", by_directory, 0, 0 }, { "other-name", by_other_name, 0, 0 }, { "flip", by_flip, 0, 0 }, { "exec", by_exec, 0, 0 },
};

static void *try_it(void *argument)
{
    struct way *way = argument;
    for (int turn = 0; !over; turn++) {
        const char *name = names[turn % NAMES];
        int stolen = way->try(name, turn / NAMES);
        way->tried++;
        way->stolen += stolen;
        if (stolen && only_first) over = 1;
    }
    return 0;
}

/* Changes the name under the eyes of whoever reads it twice. */
static void *flip(void *argument)
{
    for (unsigned turn = 0; !over; turn++) {
        strcpy(flipping, "README.md");
        for (volatile int wait = 0; wait < (int)(turn % 4000); wait++);
        strcpy(flipping, ".env.0\0\0");
        for (volatile int wait = 0; wait < (int)(turn % 1000); wait++);
    }
    return argument;
}

int main(int count, char **argument)
{
    size_t number = sizeof ways / sizeof *ways;
    pthread_t threads[32];
    only_first = count > 1 && strcmp(argument[1], "first") == 0;
    size_t running = 0;
    for (size_t at = 0; at < number; at++)
        if (count < 3 || strcmp(argument[2], ways[at].name) == 0) pthread_create(&threads[running++], 0, try_it, &ways[at]);
    pthread_create(&threads[running++], 0, flip, 0);
    while (!over && access("stop", F_OK)) usleep(2000);
    over = 1;
    for (size_t at = 0; at < running; at++) pthread_join(threads[at], 0);
    for (size_t at = 0; at < number; at++) printf("%s %ld of %ld\n", ways[at].name, ways[at].stolen, ways[at].tried);
    return 0;
}
