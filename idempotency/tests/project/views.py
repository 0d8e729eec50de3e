"""Views of every kind, each of which charges whenever it runs."""

import time
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.decorators import api_view, parser_classes
from rest_framework.generics import get_object_or_404
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from idempotency import idempotent
from idempotency.failpoints import failpoint
from idempotency.tests.project.models import Account, Charge, Debit


def charge(amount: Any = 1) -> int:
    Charge.objects.create(amount=int(amount))
    return Charge.objects.count()


class RestView(APIView):
    parser_classes = (JSONParser, FormParser, MultiPartParser)

    @idempotent()
    def post(self, request: Request) -> Response:
        return Response({"charges": charge()}, 201, headers={"Location": "/charges/1"})

    @idempotent()
    def delete(self, request: Request) -> Response:
        charge()
        return Response(status=204)

    @idempotent(required=False)
    def put(self, request: Request) -> Response:
        return Response({"charges": charge()})


class RestViewSet(ViewSet):
    @idempotent()
    def create(self, request: Request) -> Response:
        return Response({"charges": charge()}, 201)


@api_view(["POST"])
@parser_classes([JSONParser, FormParser, MultiPartParser])
@idempotent()
def rest_function(request: Request) -> Response:
    return Response({"charges": charge()})


@csrf_exempt
@idempotent()
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"charged {charge()}", content_type="text/plain")


@csrf_exempt
@idempotent()
def plain_json(request: HttpRequest) -> JsonResponse:
    response = JsonResponse({"charges": charge()}, status=201)
    response["Location"] = "/charges/1"
    response.set_cookie("secret", "of-the-first-only")
    return response


@csrf_exempt
@idempotent(required=False)
def optional(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(charge()))


@csrf_exempt
@idempotent(scope=lambda request: f"guest:{request.headers['X-Guest']}")
def guest(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(charge()))


def only_the_amount(request: HttpRequest) -> object:
    return request.POST["amount"]


@csrf_exempt
@idempotent(fingerprint=only_the_amount)
def by_amount(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(charge()))


@csrf_exempt
@idempotent()
def binary(request: HttpRequest) -> HttpResponse:
    charge()
    return HttpResponse(bytes(range(256)), content_type="application/octet-stream")


@csrf_exempt
@idempotent()
def streaming(request: HttpRequest) -> StreamingHttpResponse:
    charge()
    return StreamingHttpResponse(iter([b"a", b"b"]))


@csrf_exempt
@idempotent()
def file(request: HttpRequest) -> FileResponse:
    charge()
    return FileResponse(__import__("io").BytesIO(b"a file"))


@csrf_exempt
@idempotent()
def large(request: HttpRequest) -> HttpResponse:
    charge()
    return HttpResponse(b"x" * (1024 * 1024 + 1))


@csrf_exempt
@idempotent()
def broken(request: HttpRequest) -> HttpResponse:
    charge()
    raise RuntimeError("a bug")


@csrf_exempt
@idempotent()
def unavailable(request: HttpRequest) -> HttpResponse:
    charge()
    return HttpResponse(status=503)


@csrf_exempt
@idempotent()
def slow(request: HttpRequest) -> HttpResponse:
    count = charge()
    time.sleep(0.5)
    return HttpResponse(str(count))


@csrf_exempt
@idempotent()
def own_header(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(str(charge()), headers={"X-Receipt": "17"})
    response.set_cookie("secret", "of-the-first-only")
    return response


@csrf_exempt
@idempotent()
def reads_file(request: HttpRequest) -> HttpResponse:
    charge()
    (upload,) = request.FILES.getlist("file")
    assert isinstance(upload, UploadedFile)
    return HttpResponse(upload.read())


@csrf_exempt
@idempotent()
def teapot(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(charge()), status=418)


@method_decorator(csrf_exempt, name="dispatch")
class ClassBased(View):
    @idempotent(serialize_by="thing:{thing}")
    def post(self, request: HttpRequest, thing: int) -> HttpResponse:
        return HttpResponse(str(charge()))


class Wanted(serializers.Serializer[Any]):
    amount = serializers.IntegerField(min_value=1)


class DebitView(APIView):
    """Check, then act, as code without any guard does."""

    permission_classes = (IsAuthenticated,)

    @idempotent(serialize_by="account:{account_id}")
    def post(self, request: Request, account_id: int) -> Response:
        wanted = Wanted(data=request.data)
        wanted.is_valid(raise_exception=True)
        amount = wanted.validated_data["amount"]
        account = get_object_or_404(Account, pk=account_id, owner_id=request.user.pk)
        if account.balance < amount:
            return Response({"detail": "declined"}, 402)
        debit = Debit.objects.create(account=account, amount=amount)
        account.balance -= amount
        account.save()
        failpoint("debited")
        location = f"/accounts/{account_id}/debits/{debit.pk}/"
        return Response({"id": debit.pk}, 201, headers={"Location": location})


class StatusView(APIView):
    """Has an effect and then responds with the status that it is asked for."""

    permission_classes = (IsAuthenticated,)

    @idempotent(subject_of=lambda response: f"status:{response.status_code}")
    def post(self, request: Request, status: int) -> Response:
        Account.objects.create(owner_id=request.user.pk, balance=status)
        return Response({}, status)
