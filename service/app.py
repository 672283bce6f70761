"""The composition root: the only place where the parts are put together. Must never hold logic of its own."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import cast

from aiohttp import web

from projections.runner import CatchUp
from service.api.context import Services
from service.api.execution import Executor
from service.api.limits import Limits
from service.api.schema import make_schema
from service.application_commands import ApplicationCommands
from service.cookie_entrance import CookieEntrance
from service.core import Core, first_token, open_core
from service.credential import Credential, MemberVerification, Verification
from service.credential_reader import CredentialReader
from service.draining import Drain
from service.enforcement import Enforcer
from service.entrances import Entrances, Lag, Verifying
from service.failed_sign_ins import recording_failures
from service.forgetting import forget_what_ended, forgetting
from service.garbage import setting_aside
from service.lease import Node
from service.lease_keeper import CLOCK, LeaseKeeper, Membership
from service.listening import Door, listening
from service.log_proofs import LogProofs
from service.member_sessions import FIND_SESSIONS, MemberSessions, noting
from service.metrics import gauge, new_metrics
from service.pacing import Pace
from service.queries import Queries
from service.requests import Requests
from service.secret_text import SecretText
from service.sessions import Sessions
from service.settings import Settings
from service.sockets import bound_sockets, is_loopback, url_of
from service.streams import Streams
from service.tail import Tail
from service.tree_keeper import TreeKeeper
from service.tree_proofs import TreeProofs
from service.usage import UsageRecorder, UsageSettings, recording
from service.verified_cache import VerifiedCache
from service.verify import Verifier
from service.web import graphql, health, verification
from service.web import log as log_routes
from service.web.answers import Surroundings
from service.web.streaming import RHYTHM, Rhythm, Streaming


@asynccontextmanager
async def open_node(core: Core) -> AsyncIterator[Verifying]:
    """Join the processes that verify; leave them when left, before anything else is stopped."""
    settings, connect = core.settings, core.database.connect
    cache: VerifiedCache[Verification] = VerifiedCache(capacity=settings.cache_size)
    node = Node(cache, CLOCK, lease_s=settings.lease_s)
    async with (
        CredentialReader(connect, CLOCK.steady) as reader,
        CredentialReader(connect, CLOCK.steady, statement=FIND_SESSIONS, connections=1) as session_reader,
        Enforcer(connect, CLOCK.steady) as enforcer,
        Drain(core.pool, core.hashing) as drain,
    ):
        verifier = Verifier(node, reader, keys=core.keys, hashing=core.hashing, clock=CLOCK)
        verifier.drain, drain.on_moved = drain, lambda moved: node.remember_too(moved.digest, moved.new_digest)
        sessions = Sessions(CLOCK)
        # Digests of keys and of cookies are made under different keys: what is found by one is what it was kept as.
        member_node = cast("Node[MemberVerification]", node)
        member_sessions = MemberSessions(
            member_node, session_reader, keys=core.members.sessions, pool=core.pool, clock=CLOCK
        )
        node.on_forgotten = sessions.changed
        membership = Membership(
            name=settings.node_name or socket.gethostname(),
            lease_s=settings.lease_s,
            new_incarnation=lambda: secrets.token_hex(16),
            on_acknowledged=enforcer.acknowledged,
            on_time=core.clock.note,
            settling=sessions.settling,
        )
        async with LeaseKeeper(connect, node, membership) as keeper, Tail(connect) as tail:
            core.growth.on_growth(tail.log_grew)
            core.signer.on_generation(tail.lose_all)
            yield Verifying(
                cache=cache,
                node=node,
                keeper=keeper,
                enforcer=enforcer,
                reader=reader,
                verifier=verifier,
                sessions=sessions,
                member_sessions=member_sessions,
                tail=tail,
            )


def make_entrances(core: Core, verifying: Verifying, catch_up: CatchUp, *, keeper: TreeKeeper) -> Entrances:
    """Put together what the routes call."""
    commands = core.commands.enforced_by(verifying.enforcer)
    members = core.members.enforced_by(verifying.enforcer)

    async def complete_rotation(credential: Credential) -> object:
        return await commands.complete_rotation(
            credential.organization, credential.token_id, generation=credential.generation
        )

    settings = UsageSettings(
        window_s=core.settings.usage_window_s,
        process=secrets.token_hex(8),
        complete_rotation=complete_rotation,
        random_bytes=os.urandom,
        clock=core.clock,
    )
    services = Services(
        queries=Queries(pool=core.pool, catch_up=catch_up),
        proofs=LogProofs(trees=TreeProofs(pool=core.pool, signer=core.signer)),
        commands=commands,
        applications=ApplicationCommands(issuing=commands.issuing),
        members=members,
        verifier=verifying.verifier,
        usage=UsageRecorder(core.pool, core.writer, settings),
        installation=core.installation,
    )
    executor = Executor(make_schema(), limits_of(core.settings))
    streams = Streams(executor, services, pool=core.pool, tail=verifying.tail)
    metrics = new_metrics()
    metrics.registry.register(members.counts)
    gauge(metrics, "entri_log_events_total", "Events appended by this process.", lambda: core.writer.counts.events)
    gauge(metrics, "entri_log_batches_total", "Batches committed by this process.", lambda: core.writer.counts.batches)
    gauge(metrics, "entri_log_queue", "Commands that wait for the log.", lambda: core.writer.counts.queued)
    gauge(metrics, "entri_hashes_in_flight", "Argon2 hashes that run or wait.", lambda: core.hashing.permits_held)
    gauge(
        metrics,
        "entri_password_hashes_in_flight",
        "Password hashes that run or wait.",
        lambda: members.passwords.in_flight,
    )
    gauge(metrics, "entri_usage_buffered", "Secrets whose uses are not written yet.", lambda: services.usage.buffered)
    gauge(metrics, "entri_keys_remembered", "Keys that are verified from memory.", lambda: len(verifying.cache))
    gauge(metrics, "entri_lease_held", "1 while keys are accepted from memory.", lambda: verifying.node.holds_lease)
    gauge(metrics, "entri_credential_reads_total", "Look-ups of keys in the database.", lambda: verifying.reader.reads)
    gauge(
        metrics, "entri_restrictions_waiting", "Restrictions not known everywhere.", lambda: verifying.enforcer.waiting
    )
    gauge(metrics, "entri_sessions", "Connections that are kept by a key.", lambda: len(verifying.sessions))
    gauge(metrics, "entri_streams", "Subscriptions that go on.", lambda: len(streams.running))
    gauge(metrics, "entri_histories_lost_total", "Failovers noticed.", lambda: verifying.keeper.histories_lost)
    gauge(metrics, "entri_log_tree_lag", "Events that the log's trees lack.", lambda: keeper.lag)
    gauge(metrics, "entri_log_checkpoint_size", "Events in the newest checkpoint.", lambda: keeper.signed_size)
    pace = Pace(core.settings.denials_a_second, CLOCK.steady)
    return Entrances(
        core=core,
        verifying=verifying,
        cookies=CookieEntrance(
            members=verifying.member_sessions,
            sessions=verifying.sessions,
            pace=pace,
            public=core.settings.public_origin,
        ),
        services=services,
        executor=executor,
        streams=streams,
        catch_up=catch_up,
        keeper=keeper,
        metrics=metrics,
        lag=Lag(catch_up, metrics),
        pace=pace,
    )


def limits_of(settings: Settings) -> Limits:
    """Say how much a document may ask for."""
    return Limits(
        tokens=settings.max_document_tokens,
        depth=settings.max_depth,
        aliases=settings.max_aliases,
        cost=settings.max_cost,
    )


Expose = Callable[[], Awaitable[str]]


def streaming_of(entrances: Entrances, *, requests: Requests, rhythm: Rhythm = RHYTHM) -> Streaming:
    """Put together what connections that stay open need."""
    return Streaming(
        open_session=entrances.open_session,
        check_upgrade=entrances.cookies.check_upgrade,
        streams=entrances.streams,
        executor=entrances.executor,
        requests=requests,
        message_limit_bytes=entrances.core.settings.max_body_bytes,
        rhythm=rhythm,
    )


def make_web_app(entrances: Entrances, expose: Expose) -> web.Application:
    """Put the routes together."""
    settings = entrances.core.settings
    explorer = is_loopback(settings.host) if settings.explorer is None else settings.explorer
    endpoint = graphql.GraphQLEndpoint(
        executor=entrances.executor,
        authenticate=entrances.authenticate,
        confirm=entrances.confirm,
        make_context=entrances.context,
        cookie=entrances.cookies.written,
        streaming=streaming_of(entrances, requests=entrances.requests),
        explorer=explorer,
        body_limit_bytes=settings.max_body_bytes,
        body_timeout_s=settings.header_timeout_s,
    )
    checks = {
        "database": entrances.database_problem,
        "process": entrances.draining_problem,
        "read_models": entrances.read_model_problem,
    }
    surroundings = Surroundings(metrics=entrances.metrics, requests=entrances.requests, draining=entrances.draining)
    app = web.Application(client_max_size=settings.max_body_bytes)
    app.add_routes(surroundings.routes(graphql.routes(endpoint)))
    own_log = log_routes.LogEndpoint(
        authenticate=entrances.authenticate_key, confirm=entrances.confirm, proofs=entrances.services.proofs
    )
    app.add_routes(surroundings.routes(log_routes.routes(own_log)))
    verify = verification.VerifyEndpoint(accept=entrances.acceptor(), verify=entrances.verify, record=entrances.record)
    app.add_routes(verification.routes(verify, surroundings))
    endpoints = health.HealthEndpoint(checks=checks, notes={"trees": entrances.tree_problem}, expose=expose)
    app.add_routes([*surroundings.routes(health.routes(endpoints)), surroundings.unknown()])
    return app


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Entrances, str, SecretText | None]]:
    """Serve until left: answers the URL and, on the first start, the first token's secret. Drains when left."""
    with bound_sockets(settings.host, settings.port) as sockets:
        async with serving_on(sockets, settings) as (entrances, _):
            yield entrances, url_of(sockets, settings.host), await first_token(entrances.core)


@asynccontextmanager
async def serving_on(
    sockets: Sequence[socket.socket], settings: Settings, *, expose: Callable[[Expose], Expose] = lambda own: own
) -> AsyncIterator[tuple[Entrances, Door]]:
    """Serve on these sockets until left, then drain. What /metrics answers is made of this process' own metrics."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings))
        catch_up = await stack.enter_async_context(CatchUp(core.pool))
        keeper = await stack.enter_async_context(TreeKeeper(core.signer, core.host))
        entrances = make_entrances(core, await stack.enter_async_context(open_node(core)), catch_up, keeper=keeper)
        await stack.enter_async_context(recording(entrances.services.usage))
        await stack.enter_async_context(recording_failures(core.members.failed))
        sessions = entrances.verifying.member_sessions
        await stack.enter_async_context(noting(sessions))
        forget_secrets = partial(forget_what_ended, core.pool)
        await stack.enter_async_context(
            forgetting(forget_secrets, sessions.forget_ended, core.members.throttle.forget_paid)
        )
        app = make_web_app(entrances, expose(entrances.expose))
        idle_s, drain_s = settings.header_timeout_s, settings.drain_s
        door = await stack.enter_async_context(
            listening(sockets, app, entrances.requests, idle_s=idle_s, drain_s=drain_s)
        )
        stack.callback(entrances.draining.set)
        await stack.enter_async_context(setting_aside(lambda: entrances.verifying.cache.additions))
        yield entrances, door
