/* The floor: what the kernel asks of a server that does nothing.

   One thread, one epoll, one recv and one send for each wake of a connection: it reads, counts the ends of request heads
   and answers each with the same 13-byte hello, pipelined ones in one send. It reads nothing else of a request, so it
   serves GET without a body only. What a server costs above this is the server's.

   Usage: floor PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CONNECTIONS 65536
#define MOST_AT_ONCE 256
#define READ_BYTES 65536

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";
#define ANSWER_BYTES (sizeof ANSWER - 1)

/* How many bytes of the blank line that ends a head (CR LF CR LF) the connection's last read ended with. */
static unsigned char seen[MOST_CONNECTIONS];
static char answers[MOST_AT_ONCE * ANSWER_BYTES];
static char buffer[READ_BYTES];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Count the heads that end in `bytes`; `state` is carried from read to read. */
static int heads(const char *bytes, ssize_t length, unsigned char *state) {
    int count = 0;
    const char *end = bytes + length;
    /* A head that came whole, the usual case, needs no walk over its bytes. */
    if (*state == 0 && length >= 4 && memcmp(end - 4, "\r\n\r\n", 4) == 0) {
        for (const char *at = bytes; (at = memmem(at, end - at, "\r\n\r\n", 4)) != NULL; at += 4)
            count++;
        return count;
    }
    unsigned char matched = *state;
    for (const char *at = bytes; at < end; at++) {
        if (*at == "\r\n\r\n"[matched])
            matched++;
        else
            matched = *at == '\r';
        if (matched == 4) {
            matched = 0;
            count++;
        }
    }
    *state = matched;
    return count;
}

/* Answer what can be read now; 0 once the connection is of no more use. */
static int serve(int connection) {
    ssize_t got = recv(connection, buffer, sizeof buffer, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return 0;
    int count = heads(buffer, got, &seen[connection]);
    while (count > 0) {
        int now = count < MOST_AT_ONCE ? count : MOST_AT_ONCE;
        ssize_t length = (ssize_t)(now * ANSWER_BYTES);
        /* The answers are far smaller than the socket's buffer: a short write means a client that does not read. */
        if (send(connection, answers, (size_t)length, MSG_NOSIGNAL) != length)
            return 0;
        count -= now;
    }
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    for (int each = 0; each < MOST_AT_ONCE; each++)
        memcpy(answers + each * ANSWER_BYTES, ANSWER, ANSWER_BYTES);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)atoi(arguments[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        fail("socket");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1024) != 0)
        fail("bind");
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll");
    for (;;) {
        struct epoll_event events[MOST_AT_ONCE];
        int ready = epoll_wait(poller, events, MOST_AT_ONCE, -1);
        for (int each = 0; each < ready; each++) {
            int descriptor = events[each].data.fd;
            if (descriptor != listener) {
                if (!serve(descriptor))
                    close(descriptor);
                continue;
            }
            int connection;
            while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                struct epoll_event added = {.events = EPOLLIN, .data.fd = connection};
                if (connection >= MOST_CONNECTIONS || epoll_ctl(poller, EPOLL_CTL_ADD, connection, &added) != 0) {
                    close(connection);
                    continue;
                }
                setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                seen[connection] = 0;
            }
        }
    }
}
