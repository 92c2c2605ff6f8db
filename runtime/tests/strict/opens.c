/* Opens, renames, links and removes in every way there is, and prints how each call ended: what the kernel does by itself
   and what is done in its place must be the same.

   Usage: opens own DIRECTORY    only files in DIRECTORY, which must be empty: harmless anywhere
          opens all DIRECTORY    those of the system as well; refuses to run where one of them could be changed */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

static char base[4096];
static int all;
static char longname[300], longpath[5000], deep[4200];

static int is_at_least(int major, int minor)
{
    struct utsname kernel;
    int first = 0, second = 0;
    uname(&kernel);
    sscanf(kernel.release, "%d.%d", &first, &second);
    return first > major || (first == major && second >= minor);
}

static int clear(const char *path, const struct stat *is, int kind, struct FTW *at)
{
    (void)is; (void)kind; (void)at;
    return remove(path);
}

/* Only ever what `fill` makes, below the directory given. */
static void fixture(void)
{
    static const char *shut[] = { "fx", "fx/shut", "fx/kept", "fx/blind", "fx/dir", "fx/new", 0 };
    struct stat is;
    for (int at = 0; shut[at]; at++)
        if (lstat(shut[at], &is) == 0 && S_ISDIR(is.st_mode)) chmod(shut[at], 0755);
    nftw("fx", clear, 16, FTW_DEPTH | FTW_PHYS);
    mkdir("fx", 0755);
}

static void file(const char *name, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) { perror(name); exit(1); }
    if (write(fd, "data", 4) != 4) exit(1);
    close(fd);
    chmod(name, mode);
}

static void fill(void)
{
    char text[5000];
    mkdir("fx", 0755);
    file("fx/file", 0644);
    file("fx/ro", 0444);
    file("fx/wo", 0222);
    file("fx/none", 0);
    file("fx/exe", 0755);
    mkdir("fx/dir", 0755);
    file("fx/dir/inner", 0644);
    mkdir("fx/shut", 0700);
    file("fx/shut/inner", 0644);
    chmod("fx/shut", 0600);
    mkdir("fx/kept", 0555);
    /* A directory that an ordinary user may not list is covered as a whole: it would be gone in the sandbox only. */
    mkdir("fx/blind", geteuid() == 0 ? 0333 : 0733);
    if (symlink("file", "fx/link") || symlink("dir", "fx/dlink") || symlink("missing", "fx/dangling")
        || symlink("loop", "fx/loop") || symlink("dir/../link", "fx/link2") || symlink("/proc/self/status", "fx/proclink")
        || symlink("nowhere/x", "fx/farlink") || symlink("dir/", "fx/slashlink") || symlink("/proc/self/cwd/fx/file", "fx/magic"))
        exit(1);
    snprintf(text, sizeof text, "%s/fx/file", base);
    if (symlink(text, "fx/abslink")) exit(1);
    mkfifo("fx/fifo", 0644);
    struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "fx/sock" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(fd, (void *)&at, sizeof at);
    close(fd);
}

/* Puts back what a call may have changed. */
static void restore(void)
{
    static const char *made[] = { "fx/missing", "fx/new", "fx/dir/new", "fx/blind/new", 0 };
    struct stat is;
    for (int at = 0; made[at]; at++)
        if (lstat(made[at], &is) == 0) unlink(made[at]);
    if (lstat("fx/file", &is) || is.st_size != 4) file("fx/file", 0644);
    if (lstat("fx/exe", &is) || is.st_size != 4) file("fx/exe", 0755);
    if (lstat("fx/wo", &is) || is.st_size != 4) { chmod("fx/wo", 0644); file("fx/wo", 0222); }
    if (lstat("fx/dir/inner", &is) || is.st_size != 4) file("fx/dir/inner", 0644);
}

/* Numbers of processes and inodes differ from run to run. */
static void say(const char *text)
{
    for (int number = 0; *text; text++) {
        int digit = *text >= '0' && *text <= '9';
        if (!digit) putchar(*text);
        else if (!number) putchar('N');
        number = digit;
    }
}

static void describe(int fd)
{
    char text[4200] = "", link[64], byte;
    struct stat is;
    fstat(fd, &is);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = 0;
    /* O_NOFOLLOW says nothing once a file is open: a judged file does not carry it. */
    printf("%d mode %o size %lld links %d flags %o cloexec %d ", fd, is.st_mode,
           (is.st_mode & S_IFMT) == S_IFREG ? (long long)is.st_size : -1, S_ISDIR(is.st_mode) ? 0 : (int)is.st_nlink,
           fcntl(fd, F_GETFL) & ~O_NOFOLLOW, fcntl(fd, F_GETFD));
    say(text);
    if (S_ISREG(is.st_mode)) {
        ssize_t got = read(fd, &byte, 1);
        printf(" read %zd %d", got, got < 0 ? errno : 0);
        got = pwrite(fd, "x", 1, 0);
        printf(" write %zd %d", got, got < 0 ? errno : 0);
    }
}

static void ended(const char *what, const char *path, long fd, int error)
{
    printf("%s ", what);
    say(strlen(path) > 200 ? "long" : path);
    printf(": ");
    if (fd < 0) printf("errno %d", error);
    else describe((int)fd);
    putchar('\n');
    if (fd >= 0) close((int)fd);
}

struct flag { const char *name; int value; };
static const struct flag flags[] = {
    { "rdonly", O_RDONLY }, { "wronly", O_WRONLY }, { "rdwr", O_RDWR }, { "ioctl", 3 },
    { "creat", O_CREAT }, { "creat-wr", O_CREAT | O_WRONLY }, { "creat-rdwr", O_CREAT | O_RDWR },
    { "excl", O_CREAT | O_EXCL | O_WRONLY }, { "excl-only", O_EXCL }, { "trunc", O_TRUNC | O_WRONLY },
    { "trunc-ro", O_TRUNC }, { "creat-trunc", O_CREAT | O_TRUNC | O_WRONLY }, { "append", O_APPEND | O_WRONLY },
    { "directory", O_DIRECTORY }, { "directory-wr", O_DIRECTORY | O_WRONLY }, { "creat-directory", O_CREAT | O_DIRECTORY },
    { "nofollow", O_NOFOLLOW }, { "creat-nofollow", O_CREAT | O_NOFOLLOW | O_WRONLY },
    { "directory-nofollow", O_DIRECTORY | O_NOFOLLOW }, { "path", O_PATH }, { "path-nofollow", O_PATH | O_NOFOLLOW },
    { "path-directory", O_PATH | O_DIRECTORY }, { "path-creat", O_PATH | O_CREAT | O_RDWR },
    { "tmpfile", O_TMPFILE | O_RDWR }, { "tmpfile-wr", O_TMPFILE | O_WRONLY }, { "tmpfile-ro", O_TMPFILE },
    { "tmpfile-excl", O_TMPFILE | O_RDWR | O_EXCL }, { "cloexec", O_CLOEXEC }, { "nonblock", O_NONBLOCK },
    { "noatime", O_NOATIME }, { "sync", O_SYNC | O_WRONLY }, { "noctty", O_NOCTTY }, { "async", O_ASYNC },
    { "unknown", 0x40000000 },
};

/* The calls below write, truncate, rename and remove whatever they are given. Nobody but a sandbox may be given the system. */
static void refuse_outside_of_a_sandbox(void)
{
    static const char *system[] = { "/", "/etc", "/etc/passwd", "/usr", "/usr/bin", "/usr/bin/true", "/dev",
        "/proc/sys/kernel/hostname", 0 };
    for (int at = 0; system[at]; at++)
        if (access(system[at], W_OK) == 0) {
            fprintf(stderr, "%s can be changed here: this is no sandbox\n", system[at]);
            exit(2);
        }
}

/* Where an open would wait for somebody. */
static int waits(const char *path, int value)
{
    return strstr(path, "fifo") && !(value & (O_NONBLOCK | O_PATH)) && (value & O_ACCMODE) != O_RDWR;
}

static void opens(const char *path, int directory, const char *what)
{
    for (size_t at = 0; at < sizeof flags / sizeof *flags; at++) {
        char name[100];
        int value = flags[at].value;
        if (waits(path, value)) value |= O_NONBLOCK;
        snprintf(name, sizeof name, "%s %s", what, flags[at].name);
        int fd = openat(directory, path, value, 0666);
        ended(name, path, fd, errno);
        restore();
    }
}

static void opens2(const char *path, int directory, const char *what)
{
    static const struct flag rules[] = {
        { "plain", 0 }, { "no-xdev", RESOLVE_NO_XDEV }, { "no-magiclinks", RESOLVE_NO_MAGICLINKS },
        { "no-symlinks", RESOLVE_NO_SYMLINKS }, { "beneath", RESOLVE_BENEATH }, { "in-root", RESOLVE_IN_ROOT },
        { "beneath-no-magiclinks", RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS }, { "both", RESOLVE_BENEATH | RESOLVE_IN_ROOT },
        { "unknown", 0x4000 },
    };
    static const struct flag ways[] = {
        { "rdonly", O_RDONLY }, { "creat", O_CREAT | O_WRONLY }, { "path", O_PATH }, { "path-nofollow", O_PATH | O_NOFOLLOW },
        { "excl", O_CREAT | O_EXCL | O_WRONLY }, { "path-rdwr", O_PATH | O_RDWR }, { "unknown", 0x40000000 },
    };
    for (size_t rule = 0; rule < sizeof rules / sizeof *rules; rule++)
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            char name[100];
            int value = ways[way].value;
            if (waits(path, value)) value |= O_NONBLOCK;
            struct open_how how = { .flags = (unsigned)value, .mode = value & O_CREAT ? 0640 : 0, .resolve = (unsigned)rules[rule].value };
            snprintf(name, sizeof name, "%s2 %s %s", what, rules[rule].name, ways[way].name);
            long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
            ended(name, path, fd, errno);
            restore();
        }
}

static void result(const char *what, const char *from, const char *to, long done, int error)
{
    printf("%s ", what);
    say(from);
    putchar(' ');
    say(to);
    printf(": %ld %d\n", done, done < 0 ? error : 0);
}

static void names(void)
{
    static const char *from[] = { "fx/file", "fx/dir", "fx/link", "fx/dlink", "fx/dangling", "fx/missing", "fx/dir/", "fx/file/",
        "fx/dlink/", "fx/.", "fx/..", "/", "", "fx/fifo", "fx/sock", "fx/shut/inner", "fx/kept/x", "fx/none", "fx/loop/x", "fx/magic",
        "/proc/self/status", "/etc/passwd", "/proc/self/cwd/fx/file", 0 };
    static const char *to[] = { "fx/new", "fx/ro", "fx/dir", "fx/dir/new", "fx/kept/new", "fx/missing/x", "fx/new/", "fx/dangling",
        "/etc/new", "/tmp/new", "fx/dir/inner", "fx/.", "", "fx/file/x", 0 };
    for (int a = 0; from[a]; a++) {
        if (!all && strncmp(from[a], "fx", 2)) continue;
        for (int b = 0; to[b]; b++) {
            if (!all && strncmp(to[b], "fx", 2)) continue;
            for (int how = 0; how < 6; how++) {
                static const char *called[] = { "rename", "noreplace", "exchange", "badflags", "link", "follow" };
                long done = how < 3 ? syscall(SYS_renameat2, AT_FDCWD, from[a], AT_FDCWD, to[b], how)
                    : how == 3 ? syscall(SYS_renameat2, AT_FDCWD, from[a], AT_FDCWD, to[b], 3)
                    : linkat(AT_FDCWD, from[a], AT_FDCWD, to[b], how == 5 ? AT_SYMLINK_FOLLOW : 0);
                result(called[how], from[a], to[b], done, errno);
                if (done == 0) { fixture(); fill(); unlink("/tmp/new"); }
            }
        }
        for (int how = 0; how < 3; how++) {
            long done = unlinkat(AT_FDCWD, from[a], how == 1 ? AT_REMOVEDIR : how == 2 ? 0x4000 : 0);
            result("unlink", from[a], how == 1 ? "directory" : how == 2 ? "badflags" : "", done, errno);
            if (done == 0) { fixture(); fill(); }
        }
        /* Before Linux 6.6 there is no such call; one made in its place is no worse. */
        for (int how = 0; how < 3 && is_at_least(6, 6); how++) {
            long done = syscall(452, AT_FDCWD, from[a], 0751, how == 1 ? AT_SYMLINK_NOFOLLOW : how == 2 ? 0x4000 : 0);
            struct stat is = { 0 };
            int error = errno;
            fstatat(AT_FDCWD, from[a], &is, 0);
            result("chmod", from[a], how == 1 ? "nofollow" : "", done, error);
            if (strncmp(from[a], "fx", 2) == 0) printf("mode %o\n", is.st_mode);
            if (done == 0) { fixture(); fill(); }
        }
    }
}

int main(int count, char **argument)
{
    if (count < 3 || chdir(argument[2]) || !getcwd(base, sizeof base)) return 1;
    all = strcmp(argument[1], "all") == 0;
    if (all) refuse_outside_of_a_sandbox();
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, 0, _IOFBF, 1 << 20);
    umask(027);
    fixture();
    fill();
    memset(longname, 'n', 256);
    memset(longpath, 'p', 4500);
    for (int at = 0; at < 2040; at++) memcpy(deep + 2 * at, "./", 2);
    strcpy(deep + 2 * 2040, "fx/file");
    static const char *paths[] = { "fx/file", "fx/ro", "fx/wo", "fx/none", "fx/exe", "fx/dir", "fx/dir/", "fx/dir/inner", "fx/dir//inner",
        "./fx/./file", "fx/dir/../file", "fx/link", "fx/link/", "fx/dlink", "fx/dlink/", "fx/dlink/inner", "fx/slashlink",
        "fx/dangling", "fx/dangling/", "fx/loop", "fx/loop/x", "fx/link2", "fx/abslink", "fx/proclink", "fx/farlink", "fx/magic",
        "fx/fifo", "fx/sock", "fx/shut", "fx/shut/inner", "fx/kept", "fx/kept/new", "fx/blind", "fx/blind/new", "fx/missing",
        "fx/missing/", "fx/missing/x", "fx/new", "fx/file/", "fx/file/x", "fx/file/..", "fx/dir/.", "fx/dir/..", "", ".", "..", longname,
        longpath, deep, 0 };
    for (int at = 0; paths[at]; at++) {
        opens(paths[at], AT_FDCWD, "open");
        opens2(paths[at], AT_FDCWD, "open");
    }
    int directory = open("fx/dir", O_RDONLY), place = open("fx", O_PATH), plain = open("fx/file", O_RDONLY);
    opens("inner", directory, "at");
    opens("../file", directory, "at");
    opens2("../file", directory, "at");
    opens2("new", directory, "at");
    opens2("../dir/inner", place, "at");
    opens("file", place, "path");
    opens("x", plain, "file");
    opens("", plain, "file");
    opens("x", 999, "closed");
    opens("x", -1, "none");
    printf("bad address: %d %d\n", open((char *)8, O_RDONLY), errno);
    names();
    if (!all) {
        fixture();
        return 0;
    }
    static char own[8][100];
    int memory = memfd_create("mem", 0), ends[2], gone = open("fx/new", O_CREAT | O_RDWR, 0600), closed = dup(0);
    if (pipe(ends) || write(memory, "data", 4) != 4) return 1;
    unlink("fx/new");
    close(closed);
    int numbers[] = { memory, ends[0], ends[1], gone, plain, directory, place, closed };
    for (int at = 0; at < 8; at++) snprintf(own[at], 100, "/proc/self/fd/%d", numbers[at]);
    static const char *special[] = { "/", "//", "/etc/passwd", "/etc/passwd/", "/usr/bin/true", "/usr", "/tmp", "/bin", "/proc", "/proc/self",
        "/proc/self/", "/proc/self/status", "/proc/self/stat/", "/proc/thread-self/comm", "/proc/self/task", "/proc/self/cwd",
        "/proc/self/cwd/fx/file", "/proc/self/cwd/", "/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/fd", "/proc/self/fd/999",
        "/proc/self/fdinfo/0", "/proc/self/maps", "/proc/self/mem", "/proc/self/environ", "/proc/self/ns/mnt", "/proc/self/missing",
        "/proc/1/status", "/proc/1/environ", "/proc/1/mem", "/proc/1/cwd", "/proc/1/root/etc", "/proc/999999",
        "/proc/mounts", "/proc/net/dev", "/proc/self/../self/comm", "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj", "/dev/null",
        "/dev/null/", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty", "/dev/stdin", "/dev/fd/0", "/dev/fd", "/dev/new", "/dev/ptmx",
        "/dev/pts", "/dev/pts/999", "/dev/shm/x", own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7], 0 };
    for (int at = 0; special[at]; at++) {
        opens(special[at], AT_FDCWD, "open");
        opens2(special[at], AT_FDCWD, "open");
        unlink("/dev/shm/x");
    }
    fixture();
    return 0;
}
