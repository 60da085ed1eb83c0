/* Calls every service of a node with what gSOAP makes of its documents; each answer is one line of JSON.
 *
 *   client BASE DIGEST INSTANCE UNKNOWN FILE
 */

#include "soapH.h"
#include "StorageSoap11Binding.nsmap"

#include <stdio.h>
#include <stdlib.h>

static struct soap *soap;
static char address[256];

static const char *at(const char *base, const char *service) {
  snprintf(address, sizeof address, "%s/soap/%s/1", base, service);
  return address;
}

static void quoted(const char *text) {
  putchar('"');
  for (; text && *text; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    if ((unsigned char)*text >= ' ') putchar(*text);
  }
  putchar('"');
}

/* Whether the call went well; where it did not, the fault is told. */
static int well(const char *call, int status) {
  printf("{\"call\": \"%s\", ", call);
  if (status == SOAP_OK) {
    printf("\"answer\": ");
    return 1;
  }
  const char *family = NULL, *code = NULL;
  const struct SOAP_ENV__Detail *detail = soap->fault ? soap->fault->SOAP_ENV__Detail : NULL;
#define TYPED(field, name) \
  if (detail && detail->field) { family = name; code = detail->field->code; }
  TYPED(ns1__UnknownInstance, "UnknownInstance")
  TYPED(ns1__AccessDenied, "AccessDenied")
  TYPED(ns1__MalformedRequest, "MalformedRequest")
  TYPED(ns1__InternalError, "InternalError")
  TYPED(ns2__UnknownInstance, "UnknownInstance")
  TYPED(ns2__AccessDenied, "AccessDenied")
  TYPED(ns3__UnknownName, "UnknownName")
  TYPED(ns3__AccessDenied, "AccessDenied")
  TYPED(ns4__MalformedRequest, "MalformedRequest")
  TYPED(ns4__AccessDenied, "AccessDenied")
  const char **text = soap->fault ? soap_faultstring(soap) : NULL;
  printf("\"fault\": {\"family\": ");
  quoted(family);
  printf(", \"code\": ");
  quoted(code);
  printf(", \"text\": ");
  quoted(text ? *text : NULL);
  printf("}}\n");
  return 0;
}

static struct xsd__base64Binary content_of(const char *name) {
  struct xsd__base64Binary content = {0};
  FILE *file = fopen(name, "rb");
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  content.__size = (int)ftell(file);
  rewind(file);
  content.__ptr = soap_malloc(soap, (size_t)content.__size);
  if (fread(content.__ptr, 1, (size_t)content.__size, file) != (size_t)content.__size) exit(2);
  fclose(file);
  return content;
}

static void storage(const char *base, char *digest, char *unknown, const char *file) {
  struct ns1__stat stat = {digest}, nothing = {unknown};
  struct ns1__statResponse found;
  if (well("stat", soap_call___ns1__stat_(soap, at(base, "storage"), NULL, &stat, &found))) {
    printf("{\"digest\": \"%s\", \"size\": %llu, \"instance\": \"%s\"}}\n", found.stat->digest,
           (unsigned long long)found.stat->size, found.stat->instance);
  }
  struct ns1__getObject get = {digest};
  struct ns1__getObjectResponse got;
  if (well("getObject", soap_call___ns1__getObject_(soap, at(base, "storage"), NULL, &get, &got))) {
    putchar('"');
    for (int at = 0; at < got.content.__size; at++) printf("%02x", got.content.__ptr[at]);
    printf("\"}\n");
  }
  struct ns1__putObject put = {content_of(file)};
  struct ns1__putObjectResponse kept;
  if (well("putObject", soap_call___ns1__putObject_(soap, at(base, "storage"), NULL, &put, &kept))) {
    printf("{\"outcome\": \"%s\"}}\n", soap_ns1__Outcome2s(soap, kept.fate->outcome));
  }
  if (well("stat of nothing", soap_call___ns1__stat_(soap, at(base, "storage"), NULL, &nothing, &found))) {
    printf("null}\n");
  }
}

static void catalog(const char *base, char *instance) {
  struct ns2__queryMappings query = {instance}, nothing = {"1.2.3.4"};
  struct ns2__queryMappingsResponse found;
  if (well("queryMappings",
           soap_call___ns2__queryMappings_(soap, at(base, "catalog"), NULL, &query, &found))) {
    printf("[");
    for (int at = 0; at < found.__sizemapping; at++) {
      printf("%s{\"site\": \"%s\", \"digest\": \"%s\", \"state\": \"%s\"}", at ? ", " : "",
             found.mapping[at].site, found.mapping[at].digest,
             soap_ns2__CopyState2s(soap, found.mapping[at].state));
    }
    printf("]}\n");
  }
  if (well("queryMappings of nothing",
           soap_call___ns2__queryMappings_(soap, at(base, "catalog"), NULL, &nothing, &found))) {
    printf("null}\n");
  }
}

static void federation(const char *base) {
  struct ns3__members members;
  struct ns3__membersResponse known;
  if (well("members", soap_call___ns3__members_(soap, at(base, "federation"), NULL, &members, &known))) {
    printf("[");
    for (int at = 0; at < known.__sizemember; at++) {
      printf("%s{\"site\": \"%s\", \"standing\": \"%s\"}", at ? ", " : "", known.member[at].site,
             soap_ns3__Standing2s(soap, known.member[at].standing));
    }
    printf("]}\n");
  }
  struct ns3__metadata nobody = {"nowhere"};
  struct ns3__metadataResponse metadata;
  if (well("metadata of nobody",
           soap_call___ns3__metadata_(soap, at(base, "federation"), NULL, &nobody, &metadata))) {
    printf("null}\n");
  }
}

static void recovery(const char *base, char *digest) {
  struct ns4__status status;
  struct ns4__statusResponse told;
  if (well("status", soap_call___ns4__status_(soap, at(base, "recovery"), NULL, &status, &told))) {
    printf("{\"site\": \"%s\", \"head\": %llu}}\n", told.status->site,
           (unsigned long long)told.status->head);
  }
  char *no_digest = "no digest";
  struct ns4__verifyReplicas verify = {1, &digest}, malformed = {1, &no_digest};
  struct ns4__verifyReplicasResponse found;
  if (well("verifyReplicas",
           soap_call___ns4__verifyReplicas_(soap, at(base, "recovery"), NULL, &verify, &found))) {
    printf("[");
    for (int at = 0; at < found.__sizemapping; at++) {
      printf("%s{\"site\": \"%s\", \"state\": \"%s\"}", at ? ", " : "", found.mapping[at].site,
             soap_ns4__CopyState2s(soap, found.mapping[at].state));
    }
    printf("]}\n");
  }
  struct ns4__repairReplica repair = {1, &digest};
  struct ns4__repairReplicaResponse asked;
  if (well("repairReplica",
           soap_call___ns4__repairReplica_(soap, at(base, "recovery"), NULL, &repair, &asked))) {
    printf("[");
    for (int at = 0; at < asked.__sizedigest; at++) printf("%s\"%s\"", at ? ", " : "", asked.digest[at]);
    printf("]}\n");
  }
  if (well("verifyReplicas of no digest",
           soap_call___ns4__verifyReplicas_(soap, at(base, "recovery"), NULL, &malformed, &found))) {
    printf("null}\n");
  }
}

int main(int count, char **given) {
  if (count != 6) return 2;
  soap = soap_new1(SOAP_C_UTFSTRING);
  soap->connect_timeout = soap->recv_timeout = soap->send_timeout = 20;
  storage(given[1], given[2], given[4], given[5]);
  catalog(given[1], given[3]);
  federation(given[1]);
  recovery(given[1], given[2]);
  soap_destroy(soap);
  soap_end(soap);
  soap_free(soap);
  return 0;
}
