-- How many requests a webhook's rate allows now. A full bucket holds `burst` tokens, and so does a
-- bucket that was never used. If the server's clock was set back since `tokens_at`, there is at
-- least one token: the request that takes it writes the time anew.
create or replace function public.tokens_now(tokens float8, tokens_at timestamptz, rate integer, burst integer, now timestamptz)
returns float8
language sql stable parallel safe
as $$
  select least(burst, coalesce(case when tokens_at > now then greatest(tokens, 1)
                                    else tokens + extract(epoch from now - tokens_at) * rate end,
                               burst))::float8
$$;
