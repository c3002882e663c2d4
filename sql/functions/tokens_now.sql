-- How many requests a webhook's rate allows now. A full bucket holds `burst` tokens, and so does
-- one that nobody has used yet. If the server's clock was set back since, there is at least one
-- token: with it the time is written anew.
create or replace function public.tokens_now(tokens float8, tokens_at timestamptz, rate integer, burst integer, now timestamptz)
returns float8
language sql stable parallel safe
as $$
  select least(burst, coalesce(case when tokens_at > now then greatest(tokens, 1)
                                    else tokens + extract(epoch from now - tokens_at) * rate end,
                               burst))::float8
$$;
