/* Executes /usr/bin/echo ROUNDS times while another thread exchanges what is executed: its argument ("a": benign, evil) or its
 * path ("p": /usr/bin/echo prints its arguments, /usr/bin/expr prints 42). What is refused prints "refused". */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static union { unsigned word; char text[8]; } argument = {.text = "beni"};
static union { unsigned word[8]; char text[32]; } file;

static void *flip(void *what) {
    volatile unsigned *word = what;
    unsigned from = *word, to;
    memcpy(&to, word == &argument.word ? "evil" : "expr", 4);
    for (;;) {
        *word = to;
        for (volatile int i = 0; i < 1500; i++);
        *word = from;
        for (volatile int i = 0; i < 1500; i++);
    }
}

int main(int count, char **options) {
    int rounds = atoi(options[1]), path = options[2][0] == 'p';
    char *name = file.text + 7;
    strcpy(name, "/usr/bin/echo");
    for (int i = 0; i < rounds; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, flip, path ? &file.word[4] : &argument.word);
            /* Not always as long: the other thread may not have begun, or be at any point. */
            for (volatile int j = 0; j < 10000 + i % 50 * 2000; j++);
            char *seven[] = {"echo", "6", "*", "7", NULL}, *words[] = {"echo", argument.text, NULL};
            execve(name, path ? seven : words, (char *[]){NULL});
            puts("refused");
            fflush(stdout);
            _exit(1);
        }
        waitpid(child, NULL, 0);
    }
    return 0;
}
